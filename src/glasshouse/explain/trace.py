"""An answer led back to its training text: which of its passages stand there word for word, how often, and where.

A quotation is a maximal run of tokens that stands in training: it can be made longer on neither side.  They are told
by how unlikely they are, in bits: the sum of -log2 of how frequent each token is, so that long ones and those of rare
words come first.  Units: offsets in characters, bits of information.  Source: OLMoTrace, arXiv:2504.07096.
Left out: passages that differ in a space, a capital or a word (the fine-tuning examples are searched by words).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from glasshouse.core.config import Config
from glasshouse.core.errors import ConfigError
from glasshouse.explain.index import Continuations, Occurrences, TraceIndex
from glasshouse.tokenizer import Token, Tokenizer

MAX_TOKENS = 16_384  # of one text: more is a document, to be traced in pieces


class TraceConfig(Config):
    min_tokens: Annotated[int, Field(ge=1)] = 4  # shorter ones stand in any text
    min_bits: Annotated[float, Field(ge=0)] = 32.0  # chance alone would find 23 bits in 6 M tokens, 30 in a billion
    max_quotations: Annotated[int, Field(ge=1)] = 10
    n_places: Annotated[int, Field(ge=0)] = 3  # told of each
    n_around: Annotated[int, Field(ge=0)] = 40  # tokens shown before and behind, never beyond the document


@dataclass(frozen=True, slots=True)
class Place:
    """Where a quotation stands in training; `offset` in characters of the source."""

    source: str
    document: str
    offset: int
    before: str
    text: str
    after: str


@dataclass(frozen=True, slots=True)
class Quotation:
    """Characters `[start, stop)` of the traced text, its tokens `[first, last)`."""

    start: int
    stop: int
    first: int
    last: int
    text: str
    count: int
    bits: float
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """`quotations` by bits, most first, without those that mostly repeat a better one; `covered` are the character
    ranges of all, merged, in order."""

    text: str
    n_tokens: int
    longest_tokens: int
    quotations: tuple[Quotation, ...]
    covered: tuple[tuple[int, int], ...]
    p_covered: float  # share of the tokens

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class NextToken:
    """One candidate: its share among what followed in training, and what the model gives it (None: not asked)."""

    id: int
    text: str
    p_training: float
    count: int
    p_model: float | None


def trace(index: TraceIndex, tokenizer: Tokenizer, text: str, config: TraceConfig | None = None) -> Trace:
    """The quotations of `text`.  Raises `ConfigError` for an empty text and for one of more than 16,384 tokens."""
    config = config or TraceConfig()
    tokens = tokenizer.tokens_of(text)
    if not tokens or len(tokens) > MAX_TOKENS:
        raise ConfigError(f"a text to trace has 1 to {MAX_TOKENS:,} tokens; this one has {len(tokens):,}")
    ids = [token.id for token in tokens]
    longest_M = index.longest(ids)
    bits_M = _bits(index, ids)
    long_ones = [(i, j) for i, j in maximal_spans(longest_M.tolist()) if j - i >= config.min_tokens]
    bits = {(i, j): float(bits_M[i:j].sum()) for i, j in long_ones}
    unlikely = sorted((span for span in long_ones if bits[span] >= config.min_bits), key=lambda s: (-bits[s], s))
    spans = _distinct(unlikely)[: config.max_quotations]
    found = index.occurrences(ids, spans, config.n_places)
    quotations = tuple(
        _quotation(index, tokenizer, text, tokens, span, bits[span], occurrences, config)
        for span, occurrences in zip(spans, found)
    )
    merged = merge_spans(unlikely)
    return Trace(
        text, len(ids), int(longest_M.max()), quotations,
        merge_spans((tokens[i].start, tokens[j - 1].end) for i, j in merged), sum(j - i for i, j in merged) / len(ids),
    )  # fmt: skip


def _distinct(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without those of which those before them already tell more than half."""
    told: set[int] = set()
    kept = []
    for first, last in spans:
        if 2 * sum(i in told for i in range(first, last)) <= last - first:
            kept.append((first, last))
            told.update(range(first, last))
    return kept


def maximal_spans(longest_M: Sequence[int]) -> list[tuple[int, int]]:
    """Runs that lie in no other: `maximal_spans([3, 2, 1, 0, 1])` -> `[(0, 3), (4, 5)]`."""
    ends = [0, *(i + int(n) for i, n in enumerate(longest_M))]
    return [(i, after) for i, (before, after) in enumerate(pairwise(ends)) if after > max(before, i)]


def merge_spans(spans: Any) -> tuple[tuple[int, int], ...]:
    """Overlapping and touching ranges as one: `merge_spans([(4, 6), (0, 2), (1, 3)])` -> `((0, 3), (4, 6))`."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return tuple(merged)


def next_tokens(
    index: TraceIndex, tokenizer: Tokenizer, ids: Sequence[int], p_model: dict[int, float] | None = None, n: int = 10
) -> tuple[Continuations, list[NextToken]]:
    """The `n` likeliest next tokens by training text and by the model (`p_model` by id), the likelier of both first."""
    found = index.next_tokens(ids)
    p_model = p_model or {}
    frequent = np.argsort(-found.count_V, kind="stable")[:n]
    seen = [int(id) for id in frequent if found.count_V[id] > 0]
    ids_shown = sorted({*seen, *p_model}, key=lambda id: (-max(found.p(id), p_model.get(id, 0.0)), id))[:n]
    return found, [
        NextToken(id, tokenizer.decode([id]), found.p(id), int(found.count_V[id]), p_model.get(id)) for id in ids_shown
    ]


def _bits(index: TraceIndex, ids: Sequence[int]) -> Any:
    """[M] how unlikely each token is by itself; an id that never occurs counts as one that occurs once."""
    return -np.log2(np.maximum(index.frequency_V[ids], 1) / max(index.n_tokens, 1))


def _quotation(
    index: TraceIndex, tokenizer: Tokenizer, text: str, tokens: Sequence[Token], span: tuple[int, int], bits: float,
    occurrences: Occurrences, config: TraceConfig,
) -> Quotation:  # fmt: skip
    start, stop = tokens[span[0]].start, tokens[span[1] - 1].end
    n_tokens = span[1] - span[0]
    places = tuple(_place(index, tokenizer, *place, n_tokens, config.n_around) for place in occurrences.places)
    return Quotation(start, stop, *span, text[start:stop], occurrences.count, bits, places)


def _place(index: TraceIndex, tokenizer: Tokenizer, shard_number: int, at: int, n_tokens: int, n_around: int) -> Place:
    shard = index.shards[shard_number]
    location = shard.locate(at)
    number = int(shard.document_numbers(at, at + 1)[0])
    begin = int(shard.starts[number]) + 1  # behind the <|endoftext|> that opens it
    end = int(shard.starts[number + 1]) if number + 1 < shard.n_documents else shard.n_tokens - 1

    def read(start: int, stop: int) -> str:
        return tokenizer.decode(shard.ids[max(start, begin) : min(stop, end)].tolist())

    return Place(
        location.source, location.document_id, location.offset,
        read(at - n_around, at), read(at, at + n_tokens), read(at + n_tokens, at + n_tokens + n_around),
    )  # fmt: skip
