"""C++ checks nothing: arrays that reach it are looked at here, and numbers that index something in it."""

import numpy as np

from glasshouse.core.errors import ConfigError


def array_of(name: str, array: np.ndarray, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """The array itself, if it is what it should be and lies in one piece."""
    if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
        raise ConfigError(
            f"{name} must be {dtype.__name__} of shape {shape} in one piece; got {array.dtype} of {array.shape}"
        )
    return array


def within(name: str, values: np.ndarray, end: int | np.ndarray) -> None:
    """Whether every value goes from 0 to below `end`."""
    if values.size and (values.min() < 0 or (values >= end).any()):
        raise ConfigError(
            f"{name} has a value outside its range: {values.min()} to {values.max()}, below {np.max(end)}"
        )
