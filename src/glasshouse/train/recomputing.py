"""Memory for time: some layers keep only their input, and are computed a second time in the backward pass.

Source: arXiv:1604.06174.  A layer so computed costs a third more FLOPs and keeps B x T x D numbers.  Within a compiled
layer the compiler already computes cheap elementwise operations again.
"""

from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from glasshouse.model import Transformer


def recomputing(model: Transformer, share: float) -> Transformer:
    """A view of `model` with a share of its layers, spread evenly, recomputing: the same gradients from less memory."""
    chosen = {int(k / share) for k in range(round(share * len(model.blocks)))} if share else set()
    blocks = [_Recomputed(block) if index in chosen else block for index, block in enumerate(model.blocks)]
    return model.computed_by(blocks, "torch")


class _Recomputed:
    def __init__(self, block: Any) -> None:
        self._block = block

    def __call__(self, *arguments: Any) -> Tensor:
        out: Tensor = checkpoint(self._block, *arguments, use_reentrant=False)  # type: ignore[no-untyped-call]
        return out
