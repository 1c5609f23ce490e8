"""Does this stretch of tokens stand in the training text?  Exactly, by reading all of it once.

`Contains` is what a probe needs; an index answers it at once.  `ShardSearch` needs none: it hashes every stretch of n
tokens of a shard with numpy, looks up which are among the asked ones, and compares those token by token, so that no
hash decides.  Sums of ids times powers of an odd base modulo 2^64 give all stretches of any length by one subtraction:
with q_i = sum over j < i of id_j x B^j, a stretch from i on has the hash (q_(i+n) - q_i) x B^-i.
Shapes: T tokens of a piece.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from glasshouse.batch import TokenShard

Contains = Callable[[Sequence[Sequence[int]]], list[bool]]
BASE = 0x9E3779B97F4A7C15
PIECE = 2_000_000  # tokens hashed at once: about 100 MB
TABLE_BITS = 22  # a first look in 4 MB leaves few stretches to look up
Hashes = NDArray[np.uint64]


class ShardSearch:
    """`ShardSearch(shard)([[5, 6, 7]])` -> [True] where 5 6 7 stand together somewhere in it."""

    def __init__(self, shard: TokenShard) -> None:
        self._ids = shard.ids

    def __call__(self, sequences: Sequence[Sequence[int]]) -> list[bool]:
        wanted: dict[int, set[tuple[int, ...]]] = {}
        for sequence in sequences:
            wanted.setdefault(len(sequence), set()).add(tuple(sequence))
        found: set[tuple[int, ...]] = {()}
        longest = max(wanted, default=0)
        for start in range(0, len(self._ids), PIECE):
            ids_T = self._ids[start : start + PIECE + longest].astype(np.int64)
            sums = _Sums(ids_T)
            for n, asked in wanted.items():
                found |= _found(ids_T, sums, n, asked - found)
        return [tuple(sequence) in found for sequence in sequences]


class _Sums:
    def __init__(self, ids_T: NDArray[np.int64]) -> None:
        n = len(ids_T)
        self._sums = np.concatenate(
            [np.zeros(1, np.uint64), np.cumsum((ids_T.astype(np.uint64) + 1) * powers(BASE, n))]
        )
        self._inverse = powers(pow(BASE, -1, 2**64), n)

    def hashes(self, n: int) -> Hashes:
        """Of every stretch of n ids."""
        return _mixed((self._sums[n:] - self._sums[:-n]) * self._inverse[: len(self._sums) - n])


def powers(base: int, n: int) -> Hashes:
    """1, base, base^2, ... modulo 2^64."""
    found = np.full(n, base, dtype=np.uint64)
    found[:1] = 1
    return np.cumprod(found, out=found)


def _mixed(hashes: Hashes) -> Hashes:
    """The low bits of a sum depend on few ids: the high ones are mixed in."""
    return hashes ^ (hashes >> np.uint64(32))


def _found(ids_T: NDArray[np.int64], sums: _Sums, n: int, asked: set[tuple[int, ...]]) -> set[tuple[int, ...]]:
    if n == 0 or n > len(ids_T) or not asked:
        return set()
    known = np.unique(_mixed((np.array(list(asked), dtype=np.uint64) + 1) @ powers(BASE, n)))
    hashes_T = sums.hashes(n)
    table = np.zeros(1 << TABLE_BITS, dtype=np.bool_)
    mask = np.uint64((1 << TABLE_BITS) - 1)
    table[known & mask] = True
    places = table[hashes_T & mask].nonzero()[0]
    places = places[np.isin(hashes_T[places], known)]
    _, first = np.unique(hashes_T[places], return_index=True)
    stretches = {tuple(ids_T[place : place + n].tolist()) for place in places[first].tolist()}
    if len(known) < len(asked) or not stretches <= asked:  # two stretches share a hash: every place is looked at
        stretches = {tuple(ids_T[place : place + n].tolist()) for place in places.tolist()}
    return stretches & asked
