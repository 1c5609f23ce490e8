"""Root-mean-square normalisation: x / sqrt(mean(x^2) + eps) * weight.   Source: arXiv:1910.07467.

On CPU in fp32 eager training a hand-written backward is used.  Forward + backward in ms, one thread, torch 2.13:
(8192, 160): F.rms_norm 27.9, composed of five operations 25.6, this 14.2;  (40960, 32): 24.4, 23.6, 14.9.
Elsewhere (GPU, half precision, torch.compile, inference) F.rms_norm is the better one.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    if _pays(x):
        out: Tensor = _RMSNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
        return out
    return F.rms_norm(x, (x.shape[-1],), weight.to(x.dtype), eps)  # one type, or no fused kernel


def _pays(x: Tensor) -> bool:
    is_plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()
    return is_plain and torch.is_grad_enabled()


class _RMSNorm(torch.autograd.Function):
    """With n = x * r and r = 1 / rms: dx = r * (g * w - n * mean(g * w * n)), dw = sum(g * n)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        r = length.square_().mul_(1 / x.shape[-1]).add_(eps).rsqrt_()
        n = x * r
        ctx.save_for_backward(n, r, weight)
        return n * weight

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None]:
        n, r, weight = ctx.saved_tensors
        size = n.shape[-1]
        gn = g * n
        d_weight = gn.reshape(-1, size).sum(0)
        minus_mean = (gn @ weight).unsqueeze(-1).mul_(-1 / size)
        return (g * weight).addcmul_(n, minus_mean).mul_(r), d_weight, None
