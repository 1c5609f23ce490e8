"""The one large piece of memory a model needs at every pass, kept from pass to pass.

A pass keeps most of what training holds until its backward pass, in one block.  Allocated anew each time, the freed
block is broken by whatever comes between two steps (the optimizer's state), and the process ends up holding it twice.
"""

import weakref
from typing import Any

import torch
from torch import Tensor


class Block:
    """Lends its memory to one pass at a time; a pass that comes while it is lent gets memory of its own."""

    def __init__(self) -> None:
        self._owned = torch.empty(0)
        self._borrower: weakref.ref[Any] | None = None

    def borrow(self, n_floats: int) -> Tensor:
        """Uninitialised fp32.  Lent for as long as anything, a graph too, holds the tensor or a view of it."""
        if self._borrower is not None and self._borrower() is not None:
            return torch.empty(n_floats)
        if self._owned.numel() < n_floats:
            self._owned = torch.empty(0)  # the old one goes before the new one comes
            self._owned = torch.empty(n_floats)
        lent = self._owned.numpy()[:n_floats]  # a tensor keeps the array that it was made from, and nothing else does
        self._borrower = weakref.ref(lent)
        return torch.from_numpy(lent)


_BLOCKS: weakref.WeakKeyDictionary[Any, Block] = weakref.WeakKeyDictionary()


def block_of(model: Any) -> Block:
    """It lives as long as the model."""
    return _BLOCKS.setdefault(model, Block())
