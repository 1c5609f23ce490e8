"""What a tokenizer is worth on a text, and the record of it that the report draws.

Units: bytes of UTF-8 a token, over the texts as a whole.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from glasshouse.core.errors import DataError
from glasshouse.tokenizer.tokenizer import Token, Tokenizer

BATCH = 256  # texts encoded at once


@dataclass(frozen=True, slots=True)
class Density:
    """How densely a tokenizer writes a text."""

    n_texts: int
    n_bytes: int
    n_tokens: int
    n_unknown: int

    @property
    def bytes_per_token(self) -> float:
        return self.n_bytes / self.n_tokens

    @property
    def p_unknown(self) -> float:
        """Share of tokens that stand for something the vocabulary does not know."""
        return self.n_unknown / self.n_tokens


def measure_density(tokenizer: Tokenizer, texts: Iterable[str]) -> Density:
    """Encode all texts and count.  Raises `DataError` where they hold no token."""
    n_texts = n_bytes = n_tokens = n_unknown = 0
    remaining = iter(texts)
    while batch := list(islice(remaining, BATCH)):
        n_texts += len(batch)
        n_bytes += sum(len(text.encode("utf-8", "replace")) for text in batch)
        for ids in tokenizer.encode_batch(batch):
            n_tokens += len(ids)
            n_unknown += tokenizer.count_unknown(ids)
    if n_tokens == 0:
        raise DataError("there is no text to measure the tokenizer on. Give at least one non-empty document.")
    return Density(n_texts, n_bytes, n_tokens, n_unknown)


def summarise(tokenizer: Tokenizer, texts: Iterable[str], examples: Sequence[str]) -> dict[str, Any]:
    """The contents of a run's tokenizer/summary.json: measured on `texts`, shown on `examples`."""
    density, trained = measure_density(tokenizer, texts), tokenizer.trained
    return {
        "kind": tokenizer.kind,
        "pattern": tokenizer.pattern,
        "vocab_size": tokenizer.vocab_size,
        "bytes_per_token": density.bytes_per_token,
        "p_unknown": density.p_unknown,
        "hash": tokenizer.hash,
        "encoder": tokenizer.encoder_name,
        "n_train_texts": trained.n_texts if trained else None,
        "n_train_bytes": trained.n_bytes if trained else None,
        "seconds": trained.seconds if trained else None,
        "note": trained.note if trained else None,
        "examples": [
            {"text": text, "tokens": [{"id": t.id, "text": readable(t)} for t in tokenizer.tokens_of(text)]}
            for text in examples
        ],
    }


def readable(token: Token) -> str:
    r"""A token as one can print it: `" the"` as it is, part of a character as `‹E2 82›`, control characters escaped."""
    try:
        text = token.bytes.decode("utf-8")
    except UnicodeDecodeError:
        return f"‹{token.bytes.hex(' ').upper()}›"
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii") if character != "\t" else "\t"
