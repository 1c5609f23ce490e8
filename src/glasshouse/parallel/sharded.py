"""Tensors of which this process holds a piece (DTensor), treated like any other.

A DTensor is known by its `device_mesh`: importing its class takes half a second that one process alone need not spend.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

# said of every matrix cut by two axes: gathering it takes two steps
logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)


def is_sharded(tensor: Any) -> bool:
    return hasattr(tensor, "device_mesh")


def local(tensor: Any) -> Tensor:
    """The piece of `tensor` that lies here (all of it where it is not divided); shares its memory."""
    piece: Tensor = tensor._local_tensor if is_sharded(tensor) else tensor
    return piece


def whole(tensor: Any) -> Tensor:
    """All of `tensor`, gathered.  Collective where it is divided."""
    gathered: Tensor = tensor.full_tensor() if is_sharded(tensor) else tensor
    return gathered


def piece_of(full: Tensor, like: Any) -> Tensor:
    """The piece of `full` that belongs here when it is divided as `like` is."""
    if not is_sharded(like):
        return full
    for_this_rank = tuple(slice(start, start + size) for start, size in zip(*_box(like)))
    return full[for_this_rank]


def put(tensor: Any, full: Tensor) -> None:
    """Fill what lies here of `tensor` from all of it."""
    local(tensor).copy_(piece_of(full, tensor))


def with_local(piece: Tensor, like: Any) -> Any:
    """`piece` as the local part of a tensor divided as `like` is."""
    if not is_sharded(like):
        return piece
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        piece, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def copied(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Copies on the CPU that later steps do not change."""
    return {name: with_local(local(t).detach().to("cpu", copy=True), t) for name, t in tensors.items()}


def piece_of_zeros(owner: Any, shape: torch.Size, dtype: torch.dtype) -> Any:
    """Zeros for a quantity kept of `owner`: divided as it is where they have one shape, else whole."""
    if shape != owner.shape:
        return torch.zeros(shape, dtype=dtype)
    return with_local(torch.zeros_like(local(owner), dtype=dtype).detach(), owner)


def n_cuts(tensor: Any) -> int:
    """In how many different pieces `tensor` lies in the world."""
    if not is_sharded(tensor):
        return 1
    return math.prod(
        size for size, placement in zip(tensor.device_mesh.shape, tensor.placements) if not placement.is_replicate()
    )


def settle_gradients(parameters: Iterable[Tensor]) -> None:
    """Sums that are still spread over processes are made, so that each gradient is divided as its parameter is."""
    for parameter in parameters:
        gradient: Any = parameter.grad
        if is_sharded(gradient) and gradient.placements != parameter.placements:  # type: ignore[attr-defined]
            parameter.grad = gradient.redistribute(placements=parameter.placements)  # type: ignore[attr-defined]


def square_norm(parameters: Sequence[Tensor], n_ranks: int) -> Tensor:
    """This rank's part of the squared norm of all gradients: the sum over `n_ranks` ranks counts each piece once."""
    by_copies: dict[int, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            by_copies.setdefault(n_ranks // n_cuts(parameter), []).append(local(parameter.grad))
    parts = [
        torch.stack(torch._foreach_norm(grads)).double().square().sum() / copies for copies, grads in by_copies.items()
    ]
    return torch.stack(parts).sum()


def _box(tensor: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(offsets, sizes) of the local piece within the whole."""
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return tuple(offset), tuple(shape)
