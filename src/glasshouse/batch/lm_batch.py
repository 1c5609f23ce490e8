"""One training batch for language modelling.

Shapes: B rows, T tokens a row.  `n_bytes` is the UTF-8 length of the text behind the target tokens.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
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

    def part(self, row: tuple[int, int], column: tuple[int, int] = (0, 1), multiple: int = 1) -> "LMBatch":
        """What one of several processes computes: part `row[0]` of `row[1]` of the rows, and of those a stretch.

        All parts have one shape, their stretches a multiple of `multiple`: what a part lacks is filled with copies
        that never count.
        """
        n_rows, length = -(-self.n_rows // row[1]), -(-self.ids_BT.shape[1] // (column[1] * multiple)) * multiple
        given = self.rows(row[0] * n_rows, (row[0] + 1) * n_rows) if row[0] * n_rows < self.n_rows else self.rows(0, 0)
        missing = (n_rows - given.n_rows, length * column[1] - self.ids_BT.shape[1])
        if any(missing):
            given = given._filled_up(*missing, self)
        cut = slice(column[0] * length, (column[0] + 1) * length)
        tensors = (given.ids_BT, given.targets_BT, given.loss_mask_BT, given.document_BT)
        return LMBatch(*(None if t is None else t[:, cut] for t in tensors))  # type: ignore[arg-type]

    def _filled_up(self, n_rows: int, n_columns: int, like: "LMBatch") -> "LMBatch":
        def fill(tensor: Tensor, row: Tensor) -> Tensor:
            tensor = torch.cat((tensor, row.expand(n_rows, -1)))
            return torch.cat((tensor, tensor[:, -1:].expand(-1, n_columns)), 1)

        mask_BT = torch.ones_like(self.ids_BT, dtype=torch.bool) if self.loss_mask_BT is None else self.loss_mask_BT
        mask_BT = F.pad(mask_BT, (0, n_columns, 0, n_rows))
        document_BT = None
        if self.document_BT is not None and like.document_BT is not None:
            document_BT = fill(self.document_BT, like.document_BT[:1])
        return LMBatch(
            fill(self.ids_BT, like.ids_BT[:1]), fill(self.targets_BT, like.targets_BT[:1]), mask_BT, document_BT
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
