"""Memory for time: some layers keep less, and are computed a second time in the backward pass.

Sources: arXiv:1604.06174; by selection: arXiv:2205.05198, with torchtitan's rule of every second product.
A layer that keeps its input alone costs a third more FLOPs.  Within a compiled layer the compiler already computes
cheap elementwise operations again.
"""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts, noop_context_fn

from glasshouse.model import Keeps, Transformer

ATTENTION = {
    getattr(torch.ops.aten, name).default
    for name in (
        "_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
    )
} | {torch.ops.higher_order.flex_attention}  # fmt: skip
PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten._scaled_mm.default}


def recompute(model: Transformer, share: float, keeps: Keeps = "input") -> None:
    """Let a share of the layers, spread evenly, be computed again: the same gradients from less memory.

    keeps: what such a layer keeps beside its input: nothing, or its attention and every second matrix product.
    In place, and after the layers were divided over processes: what gathers their weights then does so twice as well.
    """
    chosen = {int(k / share) for k in range(round(share * len(model.blocks)))} if share else set()
    blocks = [_Recomputed(block, keeps) if index in chosen else block for index, block in enumerate(model.blocks)]
    model.compute_by(blocks, "torch")


class _Recomputed:
    def __init__(self, block: Any, keeps: Keeps) -> None:
        self._block, self._contexts = block, noop_context_fn if keeps == "input" else keeping_products

    def __call__(self, *arguments: Any) -> Tensor:
        out: Tensor = checkpoint(  # type: ignore[no-untyped-call]
            self._block, *arguments, use_reentrant=False, preserve_rng_state=False, context_fn=self._contexts
        )
        return out


def keeping_products() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """For one pass of one layer, forward and again."""
    n_products = {False: 0, True: 0}

    def policy(context: Any, operation: Any, *_: Any, **__: Any) -> CheckpointPolicy:
        is_kept = operation in ATTENTION
        if operation in PRODUCTS:
            n_products[context.is_recompute] += 1
            is_kept = n_products[context.is_recompute] % 2 == 1
        return CheckpointPolicy.MUST_SAVE if is_kept else CheckpointPolicy.PREFER_RECOMPUTE

    contexts: Any = create_selective_checkpoint_contexts(policy)  # type: ignore[no-untyped-call]
    return contexts[0], contexts[1]
