"""Single answers found good or bad, into batches: each beside its prompt with another prompt's answer.

The mismatched rows say where the policy stands on the whole (see `objective.kto`).  Who is matched with whom is fixed
by the order of the thumbs, so that the reference looks at each row once, before training.
Shapes: B rows, T tokens.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glasshouse.batch.buckets import BucketedLoader
from glasshouse.batch.comparisons import ComparisonReport, Row, cut_left, encode_answer, fingerprint
from glasshouse.batch.lm_batch import LMBatch
from glasshouse.batch.preferences import pad_rows
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.records import Preference, Thumb
from glasshouse.tokenizer import Tokenizer


@dataclass(frozen=True)
class EncodedThumb:
    row: Row
    mismatched: Row
    is_good: bool
    reference_logps: tuple[float, float] | None = None  # of the two rows, by the frozen reference

    @property
    def length(self) -> int:
        return max(len(self.row), len(self.mismatched))


def thumbs_of(preferences: Iterable[Preference]) -> list[Thumb]:
    """A preference is two thumbs: the chosen answer good, the rejected one bad."""
    return [
        Thumb(p.prompt, answer, is_good, p.id)
        for p in preferences
        for answer, is_good in ((p.chosen, True), (p.rejected, False))
    ]


def encode_thumbs(
    thumbs: Sequence[Thumb], tokenizer: Tokenizer, seq_len: int
) -> tuple[list[EncodedThumb], ComparisonReport]:
    """Rows of at most `seq_len`; a prompt too long loses its beginning, an answer too long is left out."""
    rows = [encode_answer(tokenizer, thumb.prompt, thumb.answer, "answer") for thumb in thumbs]
    fits = [i for i, row in enumerate(rows) if int(row.mask.sum()) <= seq_len]
    if len({thumbs[i].prompt for i in fits}) < 2:
        raise DataError(
            f"{len(thumbs)} thumbs, of which {len(fits)} fit seq_len={seq_len}, have fewer than two prompts; "
            "KTO compares with answers to other prompts. Give thumbs on more prompts, or raise seq_len."
        )
    kept = []
    n_cut = 0
    other = _partners([thumbs[i].prompt for i in fits])
    for place, i in enumerate(fits):
        mismatched = encode_answer(tokenizer, thumbs[i].prompt, thumbs[fits[other[place]]].answer, "answer")
        n_cut += len(rows[i]) > seq_len
        kept.append(EncodedThumb(cut_left(rows[i], seq_len), cut_left(mismatched, seq_len), thumbs[i].is_good))
    return kept, ComparisonReport(len(kept), n_cut, len(thumbs) - len(kept))


def _partners(prompts: Sequence[Hashable]) -> list[int]:
    """Every item's partner, each item one's, so that matched and mismatched answers are the same set.

    Sorted by prompt and turned by the longest run of one prompt, nothing meets its own prompt (unless one prompt has
    more than half of the items).
    """
    first = {prompt: place for place, prompt in reversed(list(enumerate(prompts)))}
    order = sorted(range(len(prompts)), key=lambda i: first[prompts[i]])
    turn = min(max(Counter(prompts).values()), len(prompts) // 2)
    partner = [0] * len(prompts)
    for place, i in enumerate(order):
        partner[i] = order[(place + turn) % len(order)]
    return partner


@dataclass(frozen=True)
class ThumbBatch:
    """`mismatched` has the shape of `rows`; the loss is a mean over rows."""

    rows: LMBatch
    mismatched: LMBatch
    is_good_B: Tensor
    reference_logp_B: Tensor
    mismatched_reference_logp_B: Tensor
    n_bytes: int = 0

    @property
    def ids_BT(self) -> Tensor:
        return self.rows.ids_BT

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    @property
    def n_tokens(self) -> int:
        return self.rows.n_tokens  # the mismatched rows cost a forward pass more, a third of what is counted

    def count_targets(self) -> int:
        return self.n_rows

    def microbatches(self, microbatch_tokens: int | None) -> list["ThumbBatch"]:
        """The batch whole: where the policy stands is a mean over all of it."""
        if microbatch_tokens is not None and self.n_tokens > microbatch_tokens:
            raise ConfigError(
                f"KTO cannot be computed in parts: its reference point is a mean over the batch. Leave out "
                f"microbatch_tokens={microbatch_tokens} and lower batch_tokens until the batch fits in memory."
            )
        return [self]

    def to(self, device: torch.device) -> "ThumbBatch":
        return ThumbBatch(
            self.rows.to(device),
            self.mismatched.to(device),
            self.is_good_B.to(device),
            self.reference_logp_B.to(device),
            self.mismatched_reference_logp_B.to(device),
        )


class ThumbLoader(BucketedLoader[EncodedThumb, ThumbBatch]):
    kind = "thumbs"

    def size(self, item: EncodedThumb) -> tuple[int, int]:
        return item.length, 1

    def assemble(self, items: Sequence[EncodedThumb], length: int) -> ThumbBatch:
        return thumb_batch_of(items, length, self.pad_id)

    def content(self) -> dict[str, Any]:
        return {
            "answers": len(self.items),
            "good": sum(answer.is_good for answer in self.items),
            "content": fingerprint(row for answer in self.items for row in (answer.row, answer.mismatched)),
        }


def thumb_batch_of(answers: Sequence[EncodedThumb], length: int, pad_id: int) -> ThumbBatch:
    reference_BR = torch.tensor([a.reference_logps or (0.0, 0.0) for a in answers])
    return ThumbBatch(
        pad_rows((a.row for a in answers), length, pad_id),
        pad_rows((a.mismatched for a in answers), length, pad_id),
        torch.tensor([a.is_good for a in answers]),
        reference_BR[:, 0],
        reference_BR[:, 1],
    )
