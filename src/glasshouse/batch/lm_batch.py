"""One training batch for language modelling.

Shapes: B rows, T tokens a row.  `n_bytes` is the UTF-8 length of the text behind the target tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LMBatch:
    """`targets_BT[b, t]` is what should follow `ids_BT[b, :t + 1]`.

    `loss_mask_BT` True where a target counts (None: everywhere); `document_BT` numbers the documents of a row, given
    when attention must not cross them.  Padding is a document of its own and never counts.
    """

    ids_BT: Tensor
    targets_BT: Tensor
    loss_mask_BT: Tensor | None = None
    document_BT: Tensor | None = None
    n_bytes: int = 0

    @property
    def n_rows(self) -> int:
        return self.ids_BT.shape[0]

    @property
    def n_tokens(self) -> int:
        return self.ids_BT.numel()

    def count_targets(self) -> int:
        return self.n_tokens if self.loss_mask_BT is None else int(self.loss_mask_BT.sum())

    def rows(self, start: int, stop: int) -> "LMBatch":
        """The rows `[start, stop)` as a smaller batch; `n_bytes` stays with the whole batch (0 here)."""
        return LMBatch(
            self.ids_BT[start:stop],
            self.targets_BT[start:stop],
            None if self.loss_mask_BT is None else self.loss_mask_BT[start:stop],
            None if self.document_BT is None else self.document_BT[start:stop],
        )

    def microbatches(self, microbatch_tokens: int | None) -> list["LMBatch"]:
        """The batch cut into groups of whole rows of at most `microbatch_tokens` tokens (at least one row each)."""
        n_rows, length = self.ids_BT.shape
        if microbatch_tokens is None or n_rows * length <= microbatch_tokens:
            return [self]
        size = max(1, microbatch_tokens // length)
        return [self.rows(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]

    def to(self, device: torch.device) -> "LMBatch":
        if self.ids_BT.device == device:
            return self
        mask, document = self.loss_mask_BT, self.document_BT
        return LMBatch(
            self.ids_BT.to(device, non_blocking=True),
            self.targets_BT.to(device, non_blocking=True),
            None if mask is None else mask.to(device, non_blocking=True),
            None if document is None else document.to(device, non_blocking=True),
            self.n_bytes,
        )
