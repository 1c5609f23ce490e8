"""Three ways from text to ids, all giving the ids that `tokenizers` gives for the same tokenizer.json.

`RankEncoder`    byte-level BPE through tiktoken: 12.8 MB/s on one core against 2.8 MB/s for `tokenizers`
`TableEncoder`   character level: one look-up a character
`GeneralEncoder` `tokenizers` itself, for everything else (word level, SentencePiece conversions, ...)

Text is data: a special string inside it ("<|im_end|>") is encoded as the ordinary text it is, never as its special id.
A lone surrogate, which no UTF-8 file can hold, becomes U+FFFD; surrogate pairs become the character they mean.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import tiktoken
import tokenizers

from glasshouse.core.errors import DataError
from glasshouse.tokenizer.patterns import BYTE_TO_CHARACTER, CHARACTER_PATTERN, PATTERNS, from_alphabet

# tiktoken's regex engine keeps a stack of a million entries and panics beyond: on 999,901 spaces in a row, for GPT-2's
# pattern on 498,925 lines of one space.  Runs this long go through `tokenizers`; shorter texts are not searched.
LONG_RUN = 100_000
_LONG_WHITESPACE = re.compile(rf"\s{{{LONG_RUN},}}")

Definition = Mapping[str, Any]


class Encoder(Protocol):
    """Text to ids."""

    name: str

    def encode(self, text: str) -> list[int]: ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...


def without_surrogates(text: str) -> str:
    r"""`"a\ud800"` -> `"a\ufffd"`; the pair `"\ud83d\ude00"` -> the one character it means.  Else nothing changes."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class GeneralEncoder:
    """`tokenizers`, kept from ever producing a special id out of text."""

    name = "tokenizers"

    def __init__(self, backend: tokenizers.Tokenizer, special_ids: Mapping[str, int], unknown_id: int | None) -> None:
        self._backend = backend
        self._forbidden = frozenset(special_ids.values()) - {unknown_id}
        strings = sorted(filter(None, special_ids), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, strings))) if strings else None

    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        clean = [without_surrogates(text) for text in texts]
        batch = self._backend.encode_batch_fast(clean, add_special_tokens=False)
        return [self._checked(text, encoding.ids) for text, encoding in zip(clean, batch, strict=True)]

    def _checked(self, text: str, ids: list[int]) -> list[int]:
        """Some vocabularies hold "<s>" as an ordinary piece too: then cut the text inside it and encode the parts."""
        if self._forbidden.isdisjoint(ids):
            return ids
        cuts = [match.start() + 1 for match in self._special.finditer(text)] if self._special else []
        for parts in (_cut(text, cuts), list(text)):
            encodings = self._backend.encode_batch_fast(parts, add_special_tokens=False)
            joined = [i for encoding in encodings for i in encoding.ids]
            if self._forbidden.isdisjoint(joined):
                return joined
        raise DataError(
            "this tokenizer turns ordinary text into its special tokens, which would let a text give orders. "
            "Use another tokenizer, or remove the single characters from its special tokens."
        )


def _cut(text: str, places: Sequence[int]) -> list[str]:
    """`_cut("abcd", [1, 3])` -> `["a", "bc", "d"]`."""
    edges = [0, *places, len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


class RankEncoder:
    """tiktoken with the ranks of a tokenizer.json: a token's id is its rank, as its id follows the order of merges."""

    name = "tiktoken"

    def __init__(self, definition: Definition, general: Callable[[], GeneralEncoder]) -> None:
        self._general = general
        special = {token["content"] for token in definition.get("added_tokens", [])}
        ranks = {from_alphabet(t): i for t, i in definition["model"]["vocab"].items() if t not in special}
        pattern = piece_pattern(definition)
        assert pattern is not None  # `why_not_ranks` was asked first
        self._encoding = tiktoken.Encoding("glasshouse", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})

    def encode(self, text: str) -> list[int]:
        if _has_long_run(text):
            return self._general().encode(text)
        return self._encoding.encode_ordinary(without_surrogates(text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        if any(_has_long_run(text) for text in texts):
            return [self.encode(text) for text in texts]
        return self._encoding.encode_ordinary_batch([without_surrogates(text) for text in texts])


def _has_long_run(text: str) -> bool:
    return len(text) >= LONG_RUN and _LONG_WHITESPACE.search(text) is not None


class _Table(dict[str, int]):
    """character -> id, with the unknown id for every other character."""

    def __init__(self, vocabulary: Mapping[str, int], unknown_id: int) -> None:
        super().__init__((token, i) for token, i in vocabulary.items() if len(token) == 1)
        self._unknown_id = unknown_id

    def __missing__(self, character: str) -> int:
        return self._unknown_id


class TableEncoder:
    """Character level."""

    name = "table"

    def __init__(self, definition: Definition) -> None:
        model = definition["model"]
        self._look_up = _Table(model["vocab"], model["vocab"][model["unk_token"]]).__getitem__

    def encode(self, text: str) -> list[int]:
        return list(map(self._look_up, without_surrogates(text)))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]


def is_character_level(definition: Definition) -> bool:
    """Whether this is the definition that `train_tokenizer` writes for kind "char"."""
    model, splitter = definition["model"], definition.get("pre_tokenizer") or {}
    return (
        model["type"] == "WordLevel"
        and model.get("unk_token") in model["vocab"]
        and not definition.get("normalizer")
        and splitter.get("pattern") == {"Regex": CHARACTER_PATTERN}
        and splitter.get("behavior") == "Isolated"
        and all(token["special"] for token in definition.get("added_tokens", []))
    )


def piece_pattern(definition: Definition) -> str | None:
    """The one regular expression of a byte-level pre-tokenizer, or None where it is of another kind."""
    root = definition.get("pre_tokenizer") or {}
    steps = root.get("pretokenizers", [root])
    if not steps or steps[-1].get("type") != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return None
    if len(steps) == 1:
        return PATTERNS["gpt-2"] if steps[0].get("use_regex", True) else None
    split = steps[0]
    is_plain = len(steps) == 2 and split.get("type") == "Split" and not steps[1].get("use_regex", True)
    if not is_plain or split.get("invert") or split.get("behavior") != "Isolated":
        return None
    return split["pattern"].get("Regex")


def why_not_ranks(definition: Definition) -> str | None:
    """Why tiktoken cannot stand in for this tokenizer.json with equal ids; None where it can."""
    model = definition["model"]
    if model["type"] != "BPE":
        return f"its model is {model['type']}, not BPE"
    for option in ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(option):
            return f"its BPE uses {option}"
    if definition.get("normalizer"):
        return "it normalises text first"
    if piece_pattern(definition) is None:
        return "its pre-tokenizer is not one byte-level pattern"
    if any(not token["special"] for token in definition.get("added_tokens", [])):
        return "it has added tokens that are looked for in ordinary text"
    return _why_not_in_order(definition)


def _why_not_in_order(definition: Definition) -> str | None:
    """tiktoken merges the pair whose joined bytes have the lowest id, `tokenizers` the earliest pair in its list."""
    vocabulary: Mapping[str, int] = definition["model"]["vocab"]
    if not set(BYTE_TO_CHARACTER.values()) <= vocabulary.keys():
        return "its vocabulary lacks some of the 256 bytes"
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in definition["model"]["merges"]]
    merged = ["".join(pair) for pair in merges]
    ids = [vocabulary.get(token, -1) for token in merged]
    if any(later <= earlier for earlier, later in pairwise(ids)):
        return "its ids are not in the order of its merges"
    special = {token["content"] for token in definition.get("added_tokens", [])}
    if len(vocabulary.keys() - special - set(merged) - set(BYTE_TO_CHARACTER.values())):
        return "some of its tokens are made by no merge"
    return None
