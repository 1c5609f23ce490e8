"""Randomness that can be named: every stream is derived from the run's seed and the name of its use."""

import hashlib
import random

import numpy as np


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one named use: `derive_seed(1, "shuffle", 3)`.  Stable across machines and versions."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def python_random(seed: int, *names: str | int) -> random.Random:
    return random.Random(derive_seed(seed, *names))


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *names)))
