"""Cross-entropy where each process holds a part of the vocabulary's rows: the logits are never together anywhere.

Shapes: M targets, D model, V the vocabulary's part that lies here.  Units: nats.
Two small sums over processes replace a gather of (M, V) logits: of exp(logit), and of the target's logit.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def divided_cross_entropy_sum(hidden_MD: Tensor, head_weight_VD: Any, targets_M: Tensor) -> Tensor:
    """`cross_entropy_sum` for a head divided by rows.  The gradient of `hidden_MD` is this part's share of the sum."""
    mesh = head_weight_VD.device_mesh
    group, place = mesh.get_group(), mesh.get_local_rank()
    logits_MV = F.linear(hidden_MD, head_weight_VD.to_local()).float()
    n_rows = -(-head_weight_VD.shape[0] // mesh.size())  # the last part may be smaller
    loss_sum: Tensor = _DividedCrossEntropy.apply(logits_MV, targets_M - place * n_rows, group)  # type: ignore[no-untyped-call]
    return loss_sum


class _DividedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_MV: Tensor, targets_M: Tensor, group: Any) -> Tensor:
        is_here_M = (targets_M >= 0) & (targets_M < logits_MV.shape[1])
        column_M1 = targets_M.where(is_here_M, 0).unsqueeze(1)
        largest_M = logits_MV.amax(1)
        dist.all_reduce(largest_M, dist.ReduceOp.MAX, group)
        logits_MV = logits_MV - largest_M.unsqueeze(1)
        target_M = logits_MV.gather(1, column_M1).squeeze(1).where(is_here_M, 0.0)
        p_MV = logits_MV.exp_()
        sums_2M = torch.stack((p_MV.sum(1), target_M))
        dist.all_reduce(sums_2M, group=group)
        p_MV.div_(sums_2M[0].unsqueeze(1))
        p_MV.scatter_add_(1, column_M1, -is_here_M.to(p_MV).unsqueeze(1))  # the gradient of the loss by the logits
        ctx.save_for_backward(p_MV)
        return (sums_2M[0].log() - sums_2M[1]).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad_MV,) = ctx.saved_tensors
        return grad_MV * grads[0], None, None
