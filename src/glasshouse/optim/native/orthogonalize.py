"""Newton-Schulz iterations of a stack of matrices by C++ (orthogonalize.cpp has the equations).

Shapes: K matrices, R rows <= C columns.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from glasshouse.core.native import is_available
from glasshouse.core.native import library as build


class _Stack(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("n", "rows", "columns", "n_iterations", "is_bf16")],
        *[(name, ctypes.c_void_p) for name in ("matrices", "coefficients")],
    ]


@cache
def _library() -> ctypes.CDLL:
    loaded = build(Path(__file__).with_name("orthogonalize.cpp"))
    loaded.orthogonalize_room.argtypes, loaded.orthogonalize_room.restype = [ctypes.POINTER(_Stack)], ctypes.c_int64
    loaded.orthogonalize.argtypes = [ctypes.POINTER(_Stack), ctypes.c_void_p, ctypes.c_int32]
    loaded.orthogonalize.restype = None
    return loaded


def is_native(x_KRC: Tensor) -> bool:
    """fp32 on the CPU, and a matrix for every thread: each is one thread's from start to end."""
    is_plain = x_KRC.device.type == "cpu" and x_KRC.dtype == torch.float32 and not torch.compiler.is_compiling()
    return is_plain and x_KRC.shape[0] >= torch.get_num_threads() and x_KRC.numel() > 0 and is_available(_library)


def orthogonalize_(x_KRC: Tensor, coefficients: Sequence[tuple[float, float, float]], is_bf16: bool = False) -> Tensor:
    """`x_KRC`, contiguous, divided by its norms and iterated in place: once for each (a, b, c).

    `is_bf16`: the factors of every product are rounded; X and all sums stay fp32.
    """
    assert x_KRC.is_contiguous() and x_KRC.ndim == 3 and x_KRC.shape[1] <= x_KRC.shape[2]
    table = (ctypes.c_float * (3 * len(coefficients)))(*(value for abc in coefficients for value in abc))
    stack = _Stack(*x_KRC.shape, len(coefficients), is_bf16, x_KRC.data_ptr(), ctypes.addressof(table))
    kernels, n_threads = _library(), torch.get_num_threads()
    room = torch.empty(kernels.orthogonalize_room(stack) * n_threads)
    kernels.orthogonalize(stack, room.data_ptr(), n_threads)
    return x_KRC
