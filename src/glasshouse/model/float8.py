"""Products of linear layers in 8 bits, for GPUs that have them (compute capability 8.9 on): twice bf16's arithmetic.

Shapes: M rows, I inputs, O outputs.  Source: arXiv:2209.05433 (E4M3 forward, E5M2 for gradients).
Each tensor is scaled so that its largest element is the format's largest; sums are fp32, weights stay fp32.  It pays
for wide layers alone: scaling passes over every operand once more.  Left out: scales by row, scales remembered from
earlier steps.
"""

from typing import Any

import torch
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.model.transformer import Linear, Transformer

MULTIPLE = 16  # of both sides of a matrix, by the hardware
FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2


def use_float8(model: Transformer, n_pieces: int = 1) -> int:
    """Let the layers of `model` multiply in 8 bits while it trains; returns how many matrices do.

    n_pieces: in how many a side of a matrix may be cut.
    """
    linears = [module for module in model.model.layers.modules() if isinstance(module, Linear)]
    multiple = MULTIPLE * n_pieces
    fitting = [linear for linear in linears if not any(size % multiple for size in linear.weight.shape)]
    if not fitting:
        raise ConfigError(f"precision fp8 needs matrices whose sides are multiples of {multiple}; this model has none.")
    for linear in fitting:
        linear.product = float8_linear
    return len(fitting)


def float8_linear(x: Tensor, weight_OI: Tensor) -> Tensor:
    """x @ weight', in bf16, from operands of 8 bits."""
    out: Tensor = _Float8Linear.apply(x.flatten(0, -2).bfloat16(), weight_OI)  # type: ignore[no-untyped-call]
    return out.unflatten(0, x.shape[:-1])


class _Float8Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_MI: Tensor, weight_OI: Tensor) -> Tensor:
        x8_MI, x_scale = _scaled(x_MI, FORWARD)
        weight8_OI, weight_scale = _scaled(weight_OI, FORWARD)
        ctx.save_for_backward(x8_MI, x_scale, weight8_OI, weight_scale)
        return _product(x8_MI, weight8_OI.T, x_scale, weight_scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x8_MI, x_scale, weight8_OI, weight_scale = ctx.saved_tensors
        grad8_MO, grad_scale = _scaled(grads[0], BACKWARD)
        grad_x_MI = _product(grad8_MO, _by_column(weight8_OI), grad_scale, weight_scale)
        grad_weight_OI = _product(grad8_MO.T.contiguous(), _by_column(x8_MI), grad_scale, x_scale)
        return grad_x_MI, grad_weight_OI.float()


def _scaled(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(x in 8 bits, what to multiply it by to have x again)."""
    scale = x.abs().amax().float().clamp_min(1e-12) / torch.finfo(dtype).max
    return (x.float() / scale).to(dtype).contiguous(), scale


def _product(a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor) -> Tensor:
    """a @ b; the hardware wants `a` by rows and `b` by columns.  Gradients are summed exactly, forward fast."""
    is_fast = a.dtype == FORWARD
    return torch._scaled_mm(a, b, a_scale, b_scale, out_dtype=torch.bfloat16, use_fast_accum=is_fast)


def _by_column(x: Tensor) -> Tensor:
    return x.T.contiguous().T
