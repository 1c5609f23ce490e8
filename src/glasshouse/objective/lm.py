"""Next-token cross-entropy, with the head computed only where a target counts.

Shapes: B rows, T tokens, D model, V vocabulary, M counted targets.  Units: nats.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from glasshouse.batch import LMBatch
from glasshouse.objective.cross_entropy import cross_entropy_sum


@dataclass(frozen=True)
class LossOutput:
    """`loss_sum` over `n_targets`; `loss_mean` is their quotient.  Both carry gradients.

    `metrics` are sums over the same targets, without gradient, so that the parts of a batch add up; training divides.
    `n_head_tokens`: where the head was computed, if that is not where the targets are.
    """

    loss_sum: Tensor
    n_targets: int
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    n_head_tokens: int | None = None

    @property
    def loss_mean(self) -> Tensor:
        return self.loss_sum / max(1, self.n_targets)


class LanguageModel(Protocol):
    """What a loss needs of a model: hidden states behind the last norm, and the rows that turn them into logits."""

    def hidden(self, ids_BT: Tensor, *, document_BT: Tensor | None = None) -> Tensor: ...

    @property
    def head_weight_VD(self) -> Tensor: ...


def kernels_of(model: LanguageModel) -> str:
    """Which kernels a loss may use: what the model says, or torch's where it says nothing (wrapped or compiled)."""
    return getattr(model, "kernels", "torch")


Objective = Callable[[LanguageModel, Any], LossOutput]  # of (model, batch): a loss names the kind of batch it takes


def lm_loss(model: LanguageModel, batch: LMBatch) -> LossOutput:
    """Cross-entropy over the counted targets (all of them where the batch has no mask).

    Rows of the hidden states are selected before the head: with one target token in five the head, half the work of a
    small model, costs a fifth.
    """
    hidden_BTD = model.hidden(batch.ids_BT, document_BT=batch.document_BT)
    hidden_MD, targets_M = hidden_BTD.flatten(0, 1), batch.targets_BT.flatten()
    if batch.loss_mask_BT is not None:
        counted = batch.loss_mask_BT.flatten().nonzero().squeeze(1)
        hidden_MD, targets_M = hidden_MD.index_select(0, counted), targets_M.index_select(0, counted)
    loss_sum = cross_entropy_sum(hidden_MD, model.head_weight_VD, targets_M, kernels_of(model))
    return LossOutput(loss_sum, targets_M.numel())
