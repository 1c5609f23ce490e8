"""Does this stretch of tokens stand in the training text?  Exactly, by reading all of it once.

`Contains` is what a probe needs; an index answers it at once.  `ShardSearch` needs none: it hashes every stretch of n
tokens of a shard with numpy (0.05 s per million tokens and length, measured on one core), looks the asked ones up among
them, and compares every hit token by token, so that no hash decides.
Shapes: T tokens of a piece.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from glasshouse.batch import TokenShard

Contains = Callable[[Sequence[Sequence[int]]], list[bool]]
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
PIECE = 4_000_000  # tokens hashed at once: 100 MB


class ShardSearch:
    """`ShardSearch(shard)([[5, 6, 7]])` -> [True] where 5 6 7 stand together somewhere in it."""

    def __init__(self, shard: TokenShard) -> None:
        self._ids = shard.ids

    def __call__(self, sequences: Sequence[Sequence[int]]) -> list[bool]:
        found = [False] * len(sequences)
        by_length: dict[int, list[int]] = {}
        for number, sequence in enumerate(sequences):
            by_length.setdefault(len(sequence), []).append(number)
        for length, numbers in by_length.items():
            for number in self._found(length, [sequences[n] for n in numbers], numbers):
                found[number] = True
        return found

    def _found(self, n: int, asked: Sequence[Sequence[int]], numbers: Sequence[int]) -> set[int]:
        if n == 0:
            return set(numbers)
        wanted = np.array(asked, dtype=np.int64)
        hashes = np.array([_hashes(row, n)[0] for row in wanted])
        order = np.argsort(hashes)
        found: set[int] = set()
        for start in range(0, len(self._ids) - n + 1, PIECE):
            piece = self._ids[start : start + PIECE + n - 1].astype(np.int64)
            hashes_T = _hashes(piece, n)
            places = np.isin(hashes_T, hashes).nonzero()[0]
            left = np.searchsorted(hashes[order], hashes_T[places])
            for place, at in zip(places.tolist(), left.tolist()):
                while at < len(order) and hashes[order[at]] == hashes_T[place]:
                    number = numbers[order[at]]
                    if number not in found and np.array_equal(piece[place : place + n], wanted[order[at]]):
                        found.add(number)
                    at += 1
            if len(found) == len(numbers):
                break
        return found


def _hashes(ids_T: NDArray[np.int64], n: int) -> NDArray[np.uint64]:
    """Of every stretch of n ids.  Multiplication modulo 2^64 wraps, as it should."""
    ids = (ids_T.astype(np.uint64) + np.uint64(1)) * MULTIPLIER
    length = len(ids) - n + 1
    total = np.zeros(length, dtype=np.uint64)
    for k in range(n):
        total = total * np.uint64(1_000_003) + (ids[k : k + length] ^ (ids[k : k + length] >> np.uint64(29)))
    return total
