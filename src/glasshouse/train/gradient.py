"""The gradient of a batch, computed in microsteps.

Each microstep adds the gradient of (sum of losses / target tokens of the whole batch), so that any cut of a batch gives
the gradient of the whole.  Units: nats.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

from glasshouse.batch import LMBatch
from glasshouse.objective import LanguageModel, Objective

Precision = Literal["auto", "fp32", "bf16"]  # auto: bf16 on CUDA, fp32 on CPU (bf16 is slower there)


def add_gradient(
    model: LanguageModel,
    batch: LMBatch,
    objective: Objective,
    *,
    microbatch_tokens: int | None = None,
    precision: Precision = "auto",
) -> tuple[Tensor, int]:
    """Add the gradient of the mean loss over the batch's target tokens; returns (sum of losses, target tokens)."""
    n_targets = batch.count_targets()
    loss_sum: Tensor | None = None
    for microbatch in batch.microbatches(microbatch_tokens):
        with _autocast(precision, batch.ids_BT.device.type):
            output = objective(model, microbatch)
        (output.loss_sum / n_targets).backward()  # type: ignore[no-untyped-call]
        part = output.loss_sum.detach()
        loss_sum = part if loss_sum is None else loss_sum + part
    assert loss_sum is not None  # a batch has rows
    return loss_sum.float(), n_targets


def _autocast(precision: Precision, device_type: str) -> AbstractContextManager[Any]:
    is_bf16 = precision == "bf16" or (precision == "auto" and device_type == "cuda")
    return torch.autocast(device_type, torch.bfloat16) if is_bf16 else nullcontext()
