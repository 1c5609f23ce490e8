"""Compared answers into batches: all answers to a prompt in one batch, rows of like length together.

Shapes: B rows (answers), T tokens, P pairs.  Rows are padded on the right: causal attention never sees what is behind.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glasshouse.batch.buckets import BucketedLoader
from glasshouse.batch.comparisons import Comparison, Row, fingerprint
from glasshouse.batch.lm_batch import LMBatch
from glasshouse.core.errors import ConfigError


@dataclass(frozen=True)
class PreferenceBatch:
    """Pair p says that row `chosen_P[p]` was preferred to row `rejected_P[p]`; the loss is a mean over comparisons.

    `starts[g]` is the first row of comparison g (and the number of rows at the end); of a preference it is the chosen
    one.  A comparison of one row has no pair: an example to imitate.
    """

    rows: LMBatch
    starts: tuple[int, ...]
    chosen_P: Tensor
    rejected_P: Tensor
    weight_P: Tensor
    margin_P: Tensor
    reference_logp_B: Tensor | None = None
    n_bytes: int = 0

    @property
    def first_G(self) -> Tensor:
        """The first row of each comparison."""
        return torch.tensor(self.starts[:-1], device=self.rows.ids_BT.device)

    @property
    def ids_BT(self) -> Tensor:
        return self.rows.ids_BT

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    @property
    def n_tokens(self) -> int:
        return self.rows.n_tokens

    def count_targets(self) -> int:
        return len(self.starts) - 1

    def microbatches(self, microbatch_tokens: int | None) -> list["PreferenceBatch"]:
        """Groups of whole comparisons of at most `microbatch_tokens` tokens (at least one comparison each)."""
        if microbatch_tokens is None or self.n_tokens <= microbatch_tokens:
            return [self]
        max_rows = microbatch_tokens // self.ids_BT.shape[1]
        parts, first = [], 0
        for last in range(1, len(self.starts)):
            is_end = last + 1 == len(self.starts)
            if is_end or self.starts[last + 1] - self.starts[first] > max_rows:
                parts.append(self._part(first, last))
                first = last
        return parts

    def _part(self, first: int, last: int) -> "PreferenceBatch":
        """Comparisons `[first, last)`."""
        start, stop = self.starts[first], self.starts[last]
        here = ((self.chosen_P >= start) & (self.chosen_P < stop)).nonzero().squeeze(1)
        reference = self.reference_logp_B
        return PreferenceBatch(
            self.rows.rows(start, stop),
            tuple(s - start for s in self.starts[first : last + 1]),
            self.chosen_P[here] - start,
            self.rejected_P[here] - start,
            self.weight_P[here],
            self.margin_P[here],
            None if reference is None else reference[start:stop],
        )

    def to(self, device: torch.device) -> "PreferenceBatch":
        reference = self.reference_logp_B
        return replace(
            self,
            rows=self.rows.to(device),
            chosen_P=self.chosen_P.to(device),
            rejected_P=self.rejected_P.to(device),
            weight_P=self.weight_P.to(device),
            margin_P=self.margin_P.to(device),
            reference_logp_B=None if reference is None else reference.to(device),
        )


class PreferenceLoader(BucketedLoader[Comparison, PreferenceBatch]):
    kind = "preferences"

    def __init__(self, comparisons: Sequence[Comparison], batch_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(comparisons, batch_tokens, seed, **options)
        n_most = max(c.length * len(c.rows) for c in comparisons)
        if n_most > batch_tokens:
            raise ConfigError(
                f"batch_tokens={batch_tokens} is less than the longest prompt with its answers, {n_most} tokens. "
                "Raise batch_tokens (and set microbatch_tokens where memory is short), or lower seq_len."
            )

    def size(self, item: Comparison) -> tuple[int, int]:
        return item.length, len(item.rows)

    def assemble(self, items: Sequence[Comparison], length: int) -> PreferenceBatch:
        return batch_of(items, length, self.pad_id)

    def content(self) -> dict[str, Any]:
        return {
            "comparisons": len(self.items),
            "content": fingerprint(row for comparison in self.items for row in comparison.rows),
        }


def batch_of(comparisons: Sequence[Comparison], length: int, pad_id: int) -> PreferenceBatch:
    starts = (0, *accumulate(len(c.rows) for c in comparisons))
    pairs = [(start + i, start + j, c.weight, c.margin) for start, c in zip(starts, comparisons) for i, j in c.pairs]
    reference = [logp for c in comparisons for logp in c.reference_logps or ()]
    return PreferenceBatch(
        pad_rows((row for c in comparisons for row in c.rows), length, pad_id),
        starts,
        torch.tensor([chosen for chosen, *_ in pairs], dtype=torch.long),
        torch.tensor([rejected for _, rejected, *_ in pairs], dtype=torch.long),
        torch.tensor([weight for *_, weight, _ in pairs]),
        torch.tensor([margin for *_, margin in pairs]),
        torch.tensor(reference) if reference else None,
    )


def pad_rows(rows: Iterable[Row], length: int, pad_id: int) -> LMBatch:
    """(B, length), padding on the right; it never counts."""
    rows = list(rows)
    ids_BT = np.full((len(rows), length), pad_id, np.int64)
    targets_BT, mask_BT = ids_BT.copy(), np.zeros(ids_BT.shape, np.bool_)
    for b, row in enumerate(rows):
        ids_BT[b, : len(row)], targets_BT[b, : len(row)], mask_BT[b, : len(row)] = row.ids, row.targets, row.mask
    return LMBatch(torch.from_numpy(ids_BT), torch.from_numpy(targets_BT), torch.from_numpy(mask_BT))
