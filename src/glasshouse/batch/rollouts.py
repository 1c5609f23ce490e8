"""A batch of sampled answers with what learning from their rewards needs.

Shapes: B answers, T target positions (aligned with `rows.targets_BT`).  Units: nats, rewards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from glasshouse.batch.lm_batch import LMBatch


@dataclass(frozen=True)
class RolloutBatch:
    """Rows are prompt and answer; the loss mask is True on the answer's tokens, the ending one included.

    `weight_B` makes sums over tokens into the mean that is wanted (`objective.row_weights`).
    """

    rows: LMBatch
    sampled_logp_BT: Tensor  # when it was sampled, at the sampling temperature
    advantage_BT: Tensor
    reward_B: Tensor
    weight_B: Tensor
    reference_logp_BT: Tensor | None = None
    value_BT: Tensor | None = None  # what was expected from here on, before this iteration's steps
    return_BT: Tensor | None = None

    @property
    def ids_BT(self) -> Tensor:
        return self.rows.ids_BT

    @property
    def mask_BT(self) -> Tensor:
        mask = self.rows.loss_mask_BT
        assert mask is not None  # rollouts have a prompt, which never counts
        return mask

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    @property
    def n_tokens(self) -> int:
        return self.rows.n_tokens

    @property
    def n_bytes(self) -> int:
        """0: the loss is no code length."""
        return 0

    def count_targets(self) -> int:
        return self.rows.count_targets()

    def microbatches(self, microbatch_tokens: int | None) -> list["RolloutBatch"]:
        """Groups of whole rows of at most `microbatch_tokens` tokens (at least one row each)."""
        parts, start = [], 0
        for rows in self.rows.microbatches(microbatch_tokens):
            part = slice(start, start + rows.n_rows)
            parts.append(replace(self, rows=rows, **{k: t[part] for k, t in self._tensors().items()}))
            start += rows.n_rows
        return parts

    def select(self, rows: Sequence[int]) -> "RolloutBatch":
        """These rows, without the columns that none of them reaches."""
        index = torch.tensor(rows)
        n_columns = int(self.mask_BT[index].any(dim=0).nonzero().max()) + 1
        ids, targets, mask = (t[index, :n_columns] for t in (self.ids_BT, self.rows.targets_BT, self.mask_BT))
        parts = {k: t[index] if t.ndim == 1 else t[index, :n_columns] for k, t in self._tensors().items()}
        return replace(self, rows=LMBatch(ids, targets, mask), **parts)

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for a file; inverse: `of_tensors`."""
        rows = {"ids_BT": self.ids_BT, "targets_BT": self.rows.targets_BT, "mask_BT": self.mask_BT}
        return {**rows, **self._tensors()}

    @staticmethod
    def of_tensors(tensors: Mapping[str, Tensor]) -> "RolloutBatch":
        ids, targets, mask = (tensors[name] for name in ("ids_BT", "targets_BT", "mask_BT"))
        names = {f.name for f in fields(RolloutBatch)} - {"rows"}
        more = {name: tensor for name, tensor in tensors.items() if name in names}
        return RolloutBatch(LMBatch(ids, targets, mask), **more)

    def to(self, device: torch.device) -> "RolloutBatch":
        if self.ids_BT.device == device:
            return self
        moved = {name: t.to(device, non_blocking=True) for name, t in self._tensors().items()}
        return replace(self, rows=self.rows.to(device), **moved)

    def _tensors(self) -> dict[str, Tensor]:
        named = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in named if isinstance(value, Tensor)}
