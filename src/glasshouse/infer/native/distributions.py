"""Rows of logits drawn from natively: the same definition that decoding in lockstep uses (`draw.h`).

Shapes: B rows, V vocab.  Units: nats.
"""

import torch
from torch import Tensor

from glasshouse.infer.native.kernels import library, why_unavailable


def is_native(logits_BV: Tensor) -> bool:
    """Whether the functions here can read them."""
    return logits_BV.dtype == torch.float32 and logits_BV.device.type == "cpu" and why_unavailable() is None


def draw_rows(logits_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """The token at `u` of each row's cumulative distribution; `uniform_B` in fp64."""
    ids_B = torch.zeros(len(logits_BV), dtype=torch.long)
    _distributions(logits_BV, uniform_B.contiguous(), ids_B, None, None)
    return ids_B


def log_sums(logits_BV: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's largest logit, and the log of the sum of exponentials above it."""
    most_B, log_sum_B = torch.empty(len(logits_BV)), torch.empty(len(logits_BV))
    _distributions(logits_BV, None, None, most_B, log_sum_B)
    return most_B, log_sum_B


def _distributions(logits_BV: Tensor, *given: Tensor | None) -> None:
    if logits_BV.stride(1) != 1:
        logits_BV = logits_BV.contiguous()
    library().distributions(
        logits_BV.data_ptr(), len(logits_BV), logits_BV.stride(0), logits_BV.shape[1],
        *(None if tensor is None else tensor.data_ptr() for tensor in given), torch.get_num_threads(),
    )  # fmt: skip
