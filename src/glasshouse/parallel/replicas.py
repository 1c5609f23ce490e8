"""Whole copies of the weights: their gradients are summed after the backward pass, a bucket at a time.

It works on gradients alone, however they came about (eager, compiled, native kernels, many microsteps).
Left out: sending while the backward pass goes on; where that matters the weights are divided too, and FSDP does it.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

BUCKET_BYTES = 25_000_000


def sum_gradients(gradients: Iterable[Tensor], group: Any) -> None:
    """Replace each tensor by its sum over the processes of `group`."""
    sent = []
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        sent.append((flat, bucket, dist.all_reduce(flat, group=group, async_op=True)))
    for flat, bucket, work in sent:
        work.wait()
        pieces = flat.split([gradient.numel() for gradient in bucket])
        torch._foreach_copy_(bucket, [piece.view_as(gradient) for piece, gradient in zip(pieces, bucket)])


def _buckets(gradients: Iterable[Tensor]) -> list[list[Tensor]]:
    buckets: list[list[Tensor]] = []
    n_bytes = BUCKET_BYTES
    for gradient in gradients:
        if n_bytes >= BUCKET_BYTES or buckets[-1][-1].dtype != gradient.dtype:
            buckets.append([])
            n_bytes = 0
        buckets[-1].append(gradient)
        n_bytes += gradient.nbytes
    return buckets
