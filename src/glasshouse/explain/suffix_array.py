"""The order of all suffixes of a sequence of ids: by the C++ beside this file, else by NumPy, to the same result.

Shapes: N ids.  A suffix that ends is smaller than one that goes on.  The C++ is linear in time and is compiled at first
use; NumPy doubles prefixes (Manber and Myers, 1993), about ten times slower (3 M tokens of text: 0.4 s and 4.4 s),
and slower still on repeated text.
Left out: several threads for one sequence; the index sorts its parts side by side instead.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glasshouse.core.errors import DataError
from glasshouse.core.native import NativeError
from glasshouse.core.native import library as build

SOURCE = Path(__file__).with_name("suffixes.cpp")
MAX_IDS = 2**31 - 1


def sort_suffixes(ids_N: NDArray[Any], n_ids: int) -> NDArray[np.int32]:
    """[N] positions of `ids_N` (uint16 or uint32, each below `n_ids`) in the order of the suffixes that begin there.

    `sort_suffixes([1, 0, 1, 0])` -> `[3, 1, 2, 0]`.
    """
    if len(ids_N) > MAX_IDS:
        raise DataError(f"at most {MAX_IDS:,} ids can be sorted at once; got {len(ids_N):,}. Use more parts.")
    if len(ids_N) and int(ids_N.max()) >= n_ids:
        raise DataError(f"ids go from 0 to {n_ids - 1}; got {ids_N.max()}")
    return sort_suffixes_by_numpy(ids_N) if why_slow() else _sort_natively(ids_N, n_ids)


@cache
def why_slow() -> str | None:
    """None where the fast way works, else one line that says why not."""
    try:
        _library()
    except NativeError as error:
        return f"{error}; the training text is indexed by NumPy, which is about ten times slower"
    return None


def sort_suffixes_by_numpy(ids_N: NDArray[Any]) -> NDArray[np.int32]:
    """The same without a compiler: ranks by 1, 2, 4, ... ids, until all differ."""
    n = len(ids_N)
    rank_N = np.unique(ids_N, return_inverse=True)[1].astype(np.int64)
    order_N, width = np.argsort(rank_N, kind="stable"), 1
    while n and rank_N[order_N[-1]] < n - 1:
        after_N = np.zeros(n, np.int64)  # 0: the text has ended
        after_N[: n - width] = rank_N[width:] + 1
        key_N = rank_N * (n + 1) + after_N
        order_N = np.argsort(key_N, kind="stable")
        sorted_N = key_N[order_N]
        rank_N[order_N] = np.concatenate([[0], np.cumsum(sorted_N[1:] != sorted_N[:-1])])
        width *= 2
    return order_N.astype(np.int32)


def _sort_natively(ids_N: NDArray[Any], n_ids: int) -> NDArray[np.int32]:
    """Other threads of Python go on meanwhile."""
    is_narrow = ids_N.dtype.itemsize == 2
    ids_N = np.ascontiguousarray(ids_N, np.uint16 if is_narrow else np.uint32)
    order_N = np.empty(len(ids_N), np.int32)
    sort = _library().sort_suffixes_16 if is_narrow else _library().sort_suffixes_32
    if sort(ids_N.ctypes.data, order_N.ctypes.data, len(ids_N), n_ids) != 0:
        raise DataError(f"not enough memory to sort {len(ids_N):,} tokens at once. Use more parts.")
    return order_N


@cache
def _library() -> ctypes.CDLL:
    loaded = build(SOURCE)
    for name in ("sort_suffixes_16", "sort_suffixes_32"):
        getattr(loaded, name).restype = ctypes.c_int32
        getattr(loaded, name).argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    return loaded
