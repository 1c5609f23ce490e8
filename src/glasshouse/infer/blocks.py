"""Which blocks of the key/value memory are whose: counted references, and full blocks that can be found again.

A full block is named by a hash over its tokens and the name of the block before it, so equal names mean equal text from
the first token on.  A request that begins like another shares its blocks.  A block nobody refers to any more keeps its
name and contents until its memory is needed; the one longest unused goes first.
Blocks are numbers here; their memory belongs to the runner.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

Name = bytes
ROOT: Name = b""


def block_name(parent: Name, ids: Sequence[int]) -> Name:
    """16 bytes: nobody can make two texts with one name."""
    return blake2b(parent + np.array(ids, dtype=np.int64).tobytes(), digest_size=16).digest()


class BlockPool:
    """`n_blocks` numbers, free or referred to by one sequence or several."""

    def __init__(self, n_blocks: int) -> None:
        self.n_blocks = n_blocks
        self._n_references = [0] * n_blocks
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(n_blocks))  # the next to be used is first
        self._block_of: dict[Name, int] = {}
        self._name_of: dict[int, Name] = {}

    @property
    def n_free(self) -> int:
        """Blocks that nobody refers to, those that can still be found included."""
        return len(self._free)

    @property
    def n_used(self) -> int:
        return self.n_blocks - len(self._free)

    def is_free(self, block: int) -> bool:
        return self._n_references[block] == 0

    def take(self) -> int:
        """A block to write in; what it held is forgotten.  Ask `n_free` first."""
        block, _ = self._free.popitem(last=False)
        if name := self._name_of.pop(block, None):
            del self._block_of[name]
        self._n_references[block] = 1
        return block

    def share(self, block: int) -> None:
        """One more sequence refers to it."""
        self._free.pop(block, None)
        self._n_references[block] += 1

    def release(self, blocks: Sequence[int]) -> None:
        """One sequence refers to these no longer.  Its last blocks are given away first: a beginning is shared."""
        for block in reversed(blocks):
            self._n_references[block] -= 1
            if self._n_references[block] == 0:
                self._free[block] = None
                if block not in self._name_of:
                    self._free.move_to_end(block, last=False)

    def name(self, block: int, name: Name) -> None:
        """The block is full and can be found.  Where another has the name already, that one stays."""
        if name not in self._block_of and block not in self._name_of:
            self._block_of[name], self._name_of[block] = block, name

    def find(self, names: Iterable[Name]) -> list[int]:
        """The blocks of the longest beginning of `names` that is there."""
        found: list[int] = []
        for name in names:
            block = self._block_of.get(name)
            if block is None:
                break
            found.append(block)
        return found

    def forget(self) -> None:
        """No block can be found any more (what they hold is not to be trusted)."""
        self._block_of.clear()
        self._name_of.clear()
