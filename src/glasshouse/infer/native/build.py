"""The C++ beside this file as a loaded library: compiled on first use, kept under a hash of all that went into it.

About ten seconds once.  The compiler is the system's (`c++`, `g++` or `clang++`); nothing of torch or Python is
compiled in, so one library serves every version of both.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

from glasshouse.core.environment import cache_directory
from glasshouse.core.errors import GlasshouseError

SOURCES = ("forward.cpp", "decode.h", "draw.h", "attention.h", "gemm.h", "simd.h")
COMPILERS = ("g++", "c++", "clang++")
FLAGS = ("-O3", "-march=native", "-fopenmp", "-ffp-contract=off", "-std=c++17", "-shared", "-fPIC")
TIMEOUT_S = 300


class NativeError(GlasshouseError):
    """The native runner cannot be had here; the torch runner computes the same, slower."""


@cache
def library() -> ctypes.CDLL:
    """The library, built if need be.  torch must be imported first: both then share one set of OpenMP threads, where
    two would wait for each other's spinning."""
    try:
        return _load(_built())
    except NativeError:
        raise
    except OSError as error:
        raise NativeError(f"the compiled kernels could not be loaded ({error})") from None


@cache
def why_unavailable() -> str | None:
    """None where the native runner works, else one line that says why not."""
    try:
        library()
    except NativeError as error:
        return f"{error}; the plain torch runner is used, which is slower."
    return None


def _load(path: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(path))
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


def _built() -> Path:
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise NativeError(f"no C++ compiler ({', '.join(COMPILERS)}) for the fast kernels; install one (g++)")
    here = Path(__file__).parent
    path = cache_directory() / "native" / f"glasshouse-{_fingerprint(here, compiler)}.so"
    if not path.is_file():
        _compile(compiler, here / SOURCES[0], path)
    return path


def _compile(compiler: str, source: Path, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [compiler, *FLAGS, str(source), "-o", str(temporary)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        if done.returncode != 0:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200])
            raise NativeError(f"{compiler} could not compile the fast kernels ({first})")
        temporary.replace(path)  # whole or absent, also when two processes build at once
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeError(f"the fast kernels could not be built in {path.parent} ({error})") from None
    finally:
        temporary.unlink(missing_ok=True)


def _fingerprint(here: Path, compiler: str) -> str:
    """Of the sources, the flags, the compiler and the processor `-march=native` means."""
    digest = hashlib.sha256(" ".join((*FLAGS, compiler, _processor())).encode())
    digest.update(str(Path(compiler).stat().st_mtime_ns).encode())
    for name in SOURCES:
        digest.update((here / name).read_bytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return f"{platform.machine()} {platform.processor()}"
    lines = info.read_text(errors="replace").splitlines()
    kept = ("model name", "flags", "Features", "CPU part")
    return "\n".join(next((line for line in lines if line.startswith(key)), "") for key in kept)
