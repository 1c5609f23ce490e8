"""The gradient of a batch, computed in microsteps.

Each microstep adds the gradient of (sum of losses / target tokens of the whole batch), so that any cut of a batch gives
the gradient of the whole.  Units: nats.
"""

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from glasshouse.batch import Batch
from glasshouse.objective import LanguageModel, LossOutput, Objective

# auto: bf16 on CUDA, fp32 on CPU.  bf16 on a CPU pays where it multiplies it: the C++ kernels do then.  fp8: bf16 with
# the products of the layers in 8 bits
Precision = Literal["auto", "fp32", "bf16", "fp8"]


@dataclass
class GradientSums:
    """What the microsteps of one batch add up to; `metrics` are sums over the targets, as the loss is."""

    loss: Tensor
    n_targets: int
    n_head_tokens: int = 0
    metrics: dict[str, Tensor] = field(default_factory=dict)


def add_gradient(
    model: LanguageModel,
    batch: Batch,
    objective: Objective,
    *,
    microbatch_tokens: int | None = None,
    precision: Precision = "auto",
    n_targets: int | None = None,
    loss_scale: float = 1.0,
    n_ahead: int = 0,
) -> GradientSums:
    """Add the gradient of the mean loss over the batch's targets, times `loss_scale`.

    n_targets: of the whole batch, where `batch` is a part of it.
    n_ahead: microbatches that go forward before the first goes backward, then one forward, one backward (1F1B).
    """
    n_targets = batch.count_targets() if n_targets is None else n_targets
    sums: GradientSums | None = None
    forward: deque[Tensor] = deque()  # losses of microbatches that have not gone backward
    for microbatch in batch.microbatches(microbatch_tokens):
        with computing_in(precision, batch.ids_BT.device.type):
            output = objective(model, microbatch)
        forward.append(output.loss_sum * loss_scale / n_targets)
        if len(forward) > n_ahead:
            forward.popleft().backward()  # type: ignore[no-untyped-call]
        part = output.loss_sum.detach()
        if sums is None:
            sums = GradientSums(part, n_targets)
        else:
            sums.loss = sums.loss + part
        sums.n_head_tokens += output.n_targets if output.n_head_tokens is None else output.n_head_tokens
        for name, value in output.metrics.items():
            sums.metrics[name] = sums.metrics[name] + value if name in sums.metrics else value
    while forward:
        forward.popleft().backward()  # type: ignore[no-untyped-call]
    assert sums is not None  # a batch has rows
    sums.loss = sums.loss.float()
    return sums


def handing_on(hand_on: Callable[[Tensor], Tensor]) -> Objective:
    """The objective of a stage of layers behind which others come: the loss is theirs."""

    def objective(model: LanguageModel, batch: Any) -> LossOutput:
        return LossOutput(hand_on(model.hidden(batch.ids_BT, document_BT=batch.document_BT)), 0)

    return objective


def computing_in(precision: Precision, device_type: str) -> AbstractContextManager[Any]:
    dtype = computed_type(precision, device_type)
    return nullcontext() if dtype is None else torch.autocast(device_type, dtype)


def computed_type(precision: Precision, device_type: str) -> torch.dtype | None:
    """Of products; None: the weights' own."""
    is_bf16 = precision in ("bf16", "fp8") or (precision == "auto" and device_type == "cuda")
    return torch.bfloat16 if is_bf16 else None
