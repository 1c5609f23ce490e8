"""Building kernels: once, and with one line where it cannot be done."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from glasshouse.core.native import build

SOURCE = Path(__file__)  # never reaches a compiler


def test_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No compiler, or one that fails."""
    monkeypatch.setenv("GLASSHOUSE_CACHE", str(tmp_path))
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    with pytest.raises(build.NativeError, match="no C\\+\\+ compiler"):
        build.built(SOURCE)
    monkeypatch.setattr(build.shutil, "which", lambda name: __file__)
    failed = subprocess.CompletedProcess([], 1, "", "x.cpp:3:1: error: 'immintrin.h' not found\nmore\n")
    monkeypatch.setattr(build.subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(build.NativeError, match="immintrin") as caught:
        build.built(SOURCE)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "native").iterdir())


@pytest.mark.skipif(not any(map(shutil.which, build.COMPILERS)), reason="no C++ compiler")
def test_a_library_is_built_once_and_anew_when_a_header_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GLASSHOUSE_CACHE", str(tmp_path / "cache"))
    source, header = tmp_path / "two.cpp", tmp_path / "two.h"
    source.write_text('#include "simd.h"\n#include "two.h"\nextern "C" int two() { return TWO; }')
    header.write_text("#define TWO 2")
    first = build.built(source)
    assert ctypes.CDLL(str(first)).two() == 2
    written_at = first.stat().st_mtime_ns
    assert build.built(source) == first and first.stat().st_mtime_ns == written_at
    header.write_text("#define TWO 22")
    assert ctypes.CDLL(str(build.built(source))).two() == 22
