"""Collectives with gradients, along one dimension of a tensor.

What is gathered forward is summed and scattered backward, and the other way round: each is the other's derivative.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

# torch 2.13 renames them
_GATHER = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_REDUCE_SCATTER = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def gather(x: Tensor, dim: int, group: Any) -> Tensor:
    """The pieces of all ranks, one behind the other along `dim`."""
    out: Tensor = _Gather.apply(x, dim, group)  # type: ignore[no-untyped-call]
    return out


def scatter_sum(x: Tensor, dim: int, group: Any) -> Tensor:
    """This rank's piece, along `dim`, of the sum over ranks."""
    out: Tensor = _ScatterSum.apply(x, dim, group)  # type: ignore[no-untyped-call]
    return out


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, group: Any) -> Tensor:
        ctx.dim, ctx.group = dim, group
        return _all_gather(x, dim, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _reduce_scatter(grads[0], ctx.dim, ctx.group), None, None


class _ScatterSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, group: Any) -> Tensor:
        ctx.dim, ctx.group = dim, group
        return _reduce_scatter(x, dim, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _all_gather(grads[0], ctx.dim, ctx.group), None, None


def gather_values(value: Tensor) -> list[float]:
    """One number of every rank, in order of rank."""
    out = value.new_empty(dist.get_world_size())
    _GATHER(out, value.reshape(1))
    found: list[float] = out.tolist()
    return found


def _all_gather(x: Tensor, dim: int, group: Any) -> Tensor:
    n = dist.get_world_size(group)
    out = x.new_empty((n, *x.shape))
    _GATHER(out, x.contiguous()[None], group=group)
    return torch.cat(out.unbind(), dim)


def _reduce_scatter(x: Tensor, dim: int, group: Any) -> Tensor:
    pieces = torch.stack(x.chunk(dist.get_world_size(group), dim))
    out = torch.empty_like(pieces[:1])
    _REDUCE_SCATTER(out, pieces, group=group)
    return out[0]
