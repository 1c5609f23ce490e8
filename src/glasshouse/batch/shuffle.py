"""Shuffling by index: `shuffled(seed, epoch, n)[i]` is a pure function, so no shuffled list has to be saved.

Up to `MATERIAL_LIMIT` items an epoch's order is a numpy permutation held in memory (32 MB at most); above it a
Feistel network over the next power of four, walked until it lands inside (Black and Rogaway 2002), needs no memory.
"""

from collections.abc import Callable
from functools import lru_cache

from glasshouse.core.seeds import derive_seed, numpy_generator

MATERIAL_LIMIT = 4_000_000
ROUNDS = 6


@lru_cache(maxsize=8)
def shuffled(seed: int, epoch: int, n: int) -> Callable[[int], int]:
    """The order of one epoch: a bijection of `range(n)`."""
    if n <= MATERIAL_LIMIT:
        permutation = numpy_generator(seed, "shuffle", epoch).permutation(n)
        return lambda index: int(permutation[index])
    return feistel(derive_seed(seed, "shuffle", epoch), n)


def feistel(seed: int, n: int) -> Callable[[int], int]:
    """A seeded bijection of `range(n)` computed index by index."""
    half_bits = max(1, ((n - 1).bit_length() + 1) // 2)
    mask = (1 << half_bits) - 1
    keys = [derive_seed(seed, "round", r) for r in range(ROUNDS)]

    def once(index: int) -> int:
        left, right = index >> half_bits, index & mask
        for key in keys:
            left, right = right, left ^ (_mix(right ^ key) & mask)
        return left << half_bits | right

    def walk(index: int) -> int:
        if not 0 <= index < n:
            raise IndexError(f"index {index} is outside range({n})")
        index = once(index)
        while index >= n:  # at most four steps in expectation: the domain is below 4 n
            index = once(index)
        return index

    return walk


def _mix(value: int) -> int:
    """The finaliser of splitmix64: every input bit reaches every output bit."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    value = (value ^ value >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return value ^ value >> 31
