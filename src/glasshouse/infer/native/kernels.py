"""The C++ beside this file as a loaded library."""

import ctypes
from functools import cache
from pathlib import Path

from glasshouse.core.native import NativeError
from glasshouse.core.native import library as build


@cache
def library() -> ctypes.CDLL:
    loaded = build(Path(__file__).with_name("forward.cpp"))
    loaded.new_memory.restype = ctypes.c_void_p
    loaded.new_memory.argtypes = []
    loaded.free_memory.restype = None
    loaded.free_memory.argtypes = [ctypes.c_void_p]
    loaded.forward.restype = None
    loaded.forward.argtypes = [*[ctypes.c_void_p] * 4, ctypes.c_int32, ctypes.c_void_p]
    loaded.decode.restype = None
    loaded.decode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p]
    loaded.distributions.restype = None
    loaded.distributions.argtypes = [
        ctypes.c_void_p, *[ctypes.c_int64] * 3, *[ctypes.c_void_p] * 4, ctypes.c_int32,
    ]  # fmt: skip
    return loaded


@cache
def why_unavailable() -> str | None:
    """None where the native runner works, else one line that says why not."""
    try:
        library()
    except NativeError as error:
        return f"{error}; the plain torch runner is used, which is slower."
    return None
