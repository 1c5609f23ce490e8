"""A tokenizer learned from text, by `tokenizers`.

Three kinds.  "bpe": bytes, then merges of the most frequent pairs; nothing is ever unknown.  "word": the most frequent
pieces of the pattern; the rest is unknown.  "char": the characters seen; others are unknown.  All three end in one
tokenizer.json with the special tokens as ids 0, 1, 2, and give the same ids for the same text on every machine.

Source: byte-level BPE as in GPT-2 (Radford et al. 2019).  Left out: normalisation (text comes back as it went in).
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import pydantic
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from glasshouse.core.config import Config
from glasshouse.core.errors import ConfigError, DataError, suggest
from glasshouse.core.records import ROLES
from glasshouse.tokenizer.encoders import without_surrogates
from glasshouse.tokenizer.patterns import CHARACTER_PATTERN, PATTERNS
from glasshouse.tokenizer.tokenizer import ROLE_HEADERS, SPECIAL_TOKENS, UNKNOWN, Tokenizer, TrainingRecord

MAX_PIECE_CHARACTERS = 100_000  # one text handed to the trainer at a time: it keeps several copies of each
N_BYTE_VALUES = 256
HEADER_WORDS = (*ROLES, "\n")


class TokenizerConfig(Config):
    kind: Literal["bpe", "word", "char"] = "bpe"
    vocab_size: int = pydantic.Field(4096, gt=0)  # special tokens included
    pattern: str = "qwen2"  # a name in PATTERNS
    has_role_tokens: bool = False  # "<|im_start|>user\n" is one token, not three: the same text, shorter conversations
    min_frequency: int = pydantic.Field(2, ge=1)  # a pair or word seen once is no pattern, only memory
    max_train_bytes: int = pydantic.Field(200_000_000, gt=0)  # reading stops here; merges change little beyond

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return (*SPECIAL_TOKENS, *(ROLE_HEADERS if self.has_role_tokens else ()))

    @property
    def smallest_vocab(self) -> int:
        """What each kind must hold whatever the text: special tokens, and bytes or a chat's headers."""
        n_needed = {"bpe": N_BYTE_VALUES, "word": 1 + len(HEADER_WORDS), "char": 1 + len(set("".join(HEADER_WORDS)))}
        return len(self.special_tokens) + n_needed[self.kind]

    @pydantic.field_validator("pattern")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in PATTERNS:
            raise ValueError(f"a pattern is one of {', '.join(PATTERNS)}.{suggest(name, PATTERNS)}")
        return name


def train_tokenizer(texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
    """Learn a tokenizer.  `Tokenizer.trained` tells what was read, and in `note` where the result is not as asked."""
    if config.vocab_size < config.smallest_vocab:
        raise ConfigError(
            f'tokenizer.vocab_size is {config.vocab_size}; kind "{config.kind}" needs at least {config.smallest_vocab} '
            f"for its special tokens and {'the 256 bytes' if config.kind == 'bpe' else 'the headers of a chat'}."
        )
    started_at = time.monotonic()
    reader = _Reader(texts, config.max_train_bytes)
    backend = {"bpe": _train_bpe, "word": _train_words, "char": _train_characters}[config.kind](reader, config)
    if reader.n_bytes == 0:
        raise DataError(
            "there is no text to learn a tokenizer from. Give a corpus with at least one non-empty document."
        )
    tokenizer = Tokenizer(backend.to_str(pretty=False))
    note = _note(tokenizer, config, reader)
    seconds = time.monotonic() - started_at
    tokenizer.trained = TrainingRecord(reader.n_texts, reader.n_bytes, seconds, config.vocab_size, note)
    return tokenizer


class _Reader:
    """Iterates texts in pieces of bounded size, counting, until `max_bytes` have been read."""

    def __init__(self, texts: Iterable[str], max_bytes: int) -> None:
        self._texts, self._max_bytes = texts, max_bytes
        self.n_texts = self.n_bytes = 0
        self.is_cut = False

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            if self.n_bytes >= self._max_bytes:
                self.is_cut = True
                return
            text = without_surrogates(text)
            self.n_texts += 1
            self.n_bytes += len(text.encode())
            for start in range(0, len(text), MAX_PIECE_CHARACTERS):
                yield text[start : start + MAX_PIECE_CHARACTERS]


def _train_bpe(texts: Iterable[str], config: TokenizerConfig) -> Backend:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERNS[config.pattern]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        special_tokens=_special(config.special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def _train_words(texts: Iterable[str], config: TokenizerConfig) -> Backend:
    backend = Backend(models.WordLevel({UNKNOWN: 0}, UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(PATTERNS[config.pattern]), "isolated")
    backend.decoder = decoders.Fuse()
    trainer = trainers.WordLevelTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        special_tokens=_special((*config.special_tokens, UNKNOWN)),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return _with_headers(backend, config.vocab_size)


def _with_headers(backend: Backend, vocab_size: int) -> Backend:
    """The words a chat's headers are made of are always known, if need be in place of the rarest words: without them
    every role would read the same."""
    vocabulary = backend.get_vocab(with_added_tokens=False)
    by_frequency = sorted(vocabulary, key=vocabulary.__getitem__)
    missing = [word for word in HEADER_WORDS if word not in vocabulary]
    n_kept = min(len(by_frequency), vocab_size - len(missing))
    kept = [*by_frequency[:n_kept], *missing]
    backend.model = models.WordLevel({word: i for i, word in enumerate(kept)}, UNKNOWN)
    return backend


def _train_characters(texts: Iterable[str], config: TokenizerConfig) -> Backend:
    """In code point order, as in nanoGPT; where there are too many, the most frequent ones.  A character seen once
    stays: it is part of the alphabet."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    special = (*config.special_tokens, UNKNOWN)
    header = set("".join(HEADER_WORDS))  # a chat's headers must be readable, whatever the text was
    by_count = sorted(
        counts.keys() | header, key=lambda character: (character not in header, -counts[character], character)
    )
    characters = sorted(by_count[: config.vocab_size - len(special)])
    vocabulary = {token: i for i, token in enumerate((*special, *characters))}
    backend = Backend(models.WordLevel(vocabulary, UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(CHARACTER_PATTERN), "isolated")
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens(_special(special))
    return backend


def _special(names: Iterable[str]) -> list[Any]:
    return [AddedToken(name, special=True, normalized=False) for name in names]


def _note(tokenizer: Tokenizer, config: TokenizerConfig, reader: _Reader) -> str | None:
    notes = []
    if tokenizer.vocab_size < config.vocab_size:
        reason = {
            "bpe": f"no further pair occurs {config.min_frequency} times",
            "word": f"no further word occurs {config.min_frequency} times",
            "char": "there are no more characters",
        }[config.kind]
        notes.append(
            f"{tokenizer.vocab_size} tokens instead of {config.vocab_size}: in {reader.n_bytes:,} bytes {reason}"
        )
    if reader.is_cut:
        notes.append(f"learned from the first {reader.n_bytes:,} bytes (tokenizer.max_train_bytes)")
    return "; ".join(notes) or None
