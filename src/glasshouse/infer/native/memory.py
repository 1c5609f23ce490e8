"""Memory for the weights in large pages, where the system has them.

Decoding walks through every weight once a token; with pages of 4 KiB the processor looks up an address 500 times as
often as with 2 MiB.  Units: bytes.
"""

import mmap
from contextlib import suppress

from torch import Tensor, frombuffer

ALIGNMENT = 64  # a cache line
STRETCH = 64 << 20  # many large pages at once; what is not written to is not taken


class Arena:
    """Copies of tensors one after the other.  Freed when nothing refers to the copies any more."""

    def __init__(self) -> None:
        self._room: mmap.mmap | None = None
        self._used = 0

    def keep(self, tensor: Tensor) -> Tensor:
        if tensor.nbytes == 0:
            return tensor
        start = -(-self._used // ALIGNMENT) * ALIGNMENT
        if self._room is None or start + tensor.nbytes > len(self._room):
            self._room, start = _stretch(max(tensor.nbytes, STRETCH)), 0
        self._used = start + tensor.nbytes
        kept = frombuffer(self._room, dtype=tensor.dtype, count=tensor.numel(), offset=start).view(tensor.shape)
        return kept.copy_(tensor)


def _stretch(n_bytes: int) -> mmap.mmap:
    room = mmap.mmap(-1, n_bytes)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages: small ones it is
            room.madvise(mmap.MADV_HUGEPAGE)
    return room
