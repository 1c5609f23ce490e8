"""Preferences and rankings to ids: the rows of one prompt's answers, and which answer was preferred to which.

A row counts either the answer's tokens (to ask how likely it is) or its last token (to be scored there).  A row longer
than `seq_len` loses the beginning of its prompt: what stands nearest to the answer matters most.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from glasshouse.core.errors import DataError
from glasshouse.core.records import Message, Preference, Ranking
from glasshouse.tokenizer import Tokenizer

Counted = Literal["answer", "end"]


@dataclass(frozen=True)
class Row:
    """`mask[t]` True where what follows `ids[t]`, `targets[t]`, counts; or where the hidden state of `ids[t]` does."""

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    mask: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Comparison:
    """Answers to one prompt; a pair (i, j) says that answer i was preferred to answer j."""

    rows: tuple[Row, ...]
    pairs: tuple[tuple[int, int], ...]
    weight: float = 1.0  # of each pair
    margin: float = 0.0
    reference_logps: tuple[float, ...] | None = None  # of each row, by the frozen reference

    @property
    def length(self) -> int:
        return max(map(len, self.rows))


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    n_used: int
    n_cut: int
    n_too_long: int

    def problems(self) -> list[str]:
        """One line a kind of loss, for the terminal."""
        return [
            f"{count:,} {what}"
            for count, what in (
                (self.n_cut, "prompts lost their beginning to fit the row length (raise seq_len to keep them whole)"),
                (self.n_too_long, "left out: an answer alone is longer than the row length (raise seq_len)"),
            )
            if count
        ]


def encode_comparisons(
    given: Iterable[Preference | Ranking], tokenizer: Tokenizer, seq_len: int, counted: Counted
) -> tuple[list[Comparison], ComparisonReport]:
    """Comparisons that fit rows of `seq_len`.  `DataError` for one that says nothing, and where none is left."""
    kept: list[Comparison] = []
    n_cut = n_too_long = 0
    for record in given:
        answers, pairs = judgements(record)
        rows = [encode_answer(tokenizer, record.prompt, answer, counted) for answer in answers]
        if counted == "answer" and any(int(row.mask.sum()) > seq_len for row in rows):
            n_too_long += 1
            continue
        n_cut += any(len(row) > seq_len for row in rows)
        margin = record.margin or 0.0 if isinstance(record, Preference) else 0.0
        weight = 2 / (len(answers) * (len(answers) - 1))
        kept.append(Comparison(tuple(cut_left(row, seq_len) for row in rows), pairs, weight, margin))
    if not kept:
        raise DataError(
            f"there is no preference to learn from: {n_too_long} have an answer longer than seq_len={seq_len} tokens. "
            "Give preferences with a chosen and a rejected answer, or raise seq_len."
        )
    return kept, ComparisonReport(len(kept), n_cut, n_too_long)


def encode_answer(tokenizer: Tokenizer, prompt: Sequence[Message], answer: str, counted: Counted) -> Row:
    """One prompt and answer through the tokenizer's chat template, uncut.

    "end" scores at the very last token of what the template renders, as transformers does with the same conversation.
    """
    template = tokenizer.template
    if template is None:
        raise DataError("this tokenizer has no chat template, so answers cannot be told from prompts; use one that has")
    messages = [*prompt, Message("assistant", answer)]
    if counted == "end":
        ids = np.asarray(template.ids(tokenizer, messages), np.int64)
        return Row(ids, np.zeros_like(ids), np.arange(len(ids)) == len(ids) - 1)
    chat = template.encode(tokenizer, messages)
    mask = np.asarray(chat.loss_mask, np.bool_)
    n_earlier = template.encode(tokenizer, prompt).n_targets if any(m.role == "assistant" for m in prompt) else 0
    mask[mask.nonzero()[0][:n_earlier]] = False  # what the assistant said before is part of the prompt
    end = int(mask.nonzero()[0][-1]) + 1
    ids = np.asarray(chat.ids[:end], np.int64)
    return Row(ids[:-1], ids[1:], mask[1:end])


def cut_left(row: Row, seq_len: int) -> Row:
    """The last `seq_len` positions."""
    return row if len(row) <= seq_len else Row(row.ids[-seq_len:], row.targets[-seq_len:], row.mask[-seq_len:])


def fingerprint(rows: Iterable[Row]) -> str:
    """Of everything that is read: a resumed run must find the same."""
    digest = hashlib.sha256()
    for row in rows:
        for values in (row.ids, row.targets, row.mask):
            digest.update(values.tobytes())
    return digest.hexdigest()


def judgements(record: Preference | Ranking) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """(answers, pairs); refuses a record from which nothing can be learned."""
    name = f"{type(record).__name__.lower()} {record.id!r}"
    if not record.prompt:
        raise DataError(f"{name} has no prompt; the answers must be answers to something")
    if isinstance(record, Preference):
        if record.chosen == record.rejected:
            raise DataError(f"{name}: chosen and rejected are the same text ({record.chosen[:60]!r}); leave it out")
        return (record.chosen, record.rejected), ((0, 1),)
    if len(record.ranks) != len(record.answers) or len(record.answers) < 2:
        raise DataError(f"{name} has {len(record.answers)} answers and {len(record.ranks)} ranks; it needs two or more")
    both = combinations(range(len(record.answers)), 2)
    pairs = tuple((i, j) if record.ranks[i] < record.ranks[j] else (j, i) for i, j in both
                  if record.ranks[i] != record.ranks[j])  # fmt: skip
    if not pairs:
        raise DataError(f"{name}: all {len(record.answers)} answers are tied, so it prefers none; leave it out")
    return record.answers, pairs
