"""C++ kernels as loaded libraries: compiled on first use, kept under a hash of all that went into them.

About ten seconds once.  The compiler is the system's (`c++`, `g++` or `clang++`); nothing of torch or Python is
compiled in, so one library serves every version of both.  A library is one source file with the headers of its folder;
the headers of this folder are everyone's.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

from glasshouse.core.environment import cache_directory
from glasshouse.core.errors import GlasshouseError

SHARED = Path(__file__).parent
COMPILERS = ("g++", "c++", "clang++")
FLAGS = ("-O3", "-march=native", "-fopenmp", "-ffp-contract=off", "-std=c++17", "-shared", "-fPIC")
TIMEOUT_S = 300


class NativeError(GlasshouseError):
    """The compiled kernels cannot be had here; torch computes the same, slower."""


@cache
def library(source: Path) -> ctypes.CDLL:
    """The library of one source file, built if need be.  torch must be imported first: both then share one set of
    OpenMP threads, where two would wait for each other's spinning."""
    try:
        return ctypes.CDLL(str(built(source)))
    except OSError as error:
        raise NativeError(f"the compiled kernels could not be loaded ({error})") from None


@cache
def is_available(load: Callable[[], ctypes.CDLL]) -> bool:
    """Whether a library can be had, asked once: `load` is a function that returns it."""
    try:
        load()
    except NativeError:
        return False
    return True


def built(source: Path) -> Path:
    """Where the library lies, compiled if it did not."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise NativeError(f"no C++ compiler ({', '.join(COMPILERS)}) for the fast kernels; install one (g++)")
    path = cache_directory() / "native" / f"{source.stem}-{_fingerprint(source, compiler)}.so"
    if not path.is_file():
        _compile(compiler, source, path)
    return path


def _compile(compiler: str, source: Path, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [compiler, *FLAGS, f"-I{SHARED}", str(source), "-o", str(temporary)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        if done.returncode != 0:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200])
            raise NativeError(f"{compiler} could not compile the fast kernels ({first})")
        temporary.replace(path)  # whole or absent, also when two processes build at once
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeError(f"the fast kernels could not be built in {path.parent} ({error})") from None
    finally:
        temporary.unlink(missing_ok=True)


def _fingerprint(source: Path, compiler: str) -> str:
    """Of the sources, the flags, the compiler and the processor `-march=native` means."""
    digest = hashlib.sha256(" ".join((*FLAGS, compiler, _processor())).encode())
    digest.update(str(Path(compiler).stat().st_mtime_ns).encode())
    for path in (source, *sorted(source.parent.glob("*.h")), *sorted(SHARED.glob("*.h"))):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return f"{platform.machine()} {platform.processor()}"
    lines = info.read_text(errors="replace").splitlines()
    kept = ("model name", "flags", "Features", "CPU part")
    return "\n".join(next((line for line in lines if line.startswith(key)), "") for key in kept)
