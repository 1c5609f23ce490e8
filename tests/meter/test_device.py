import subprocess
import sys
from pathlib import Path

import pytest

from glasshouse.core.files import read_json
from glasshouse.meter import (
    DeviceProfile,
    available_cores,
    available_memory_bytes,
    device,
    measure_device,
    peak_memory_bytes,
)


@pytest.fixture
def small_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLASSHOUSE_CACHE", str(tmp_path))
    monkeypatch.setattr(device, "MATMUL_SIZE", {"cpu": 128})
    monkeypatch.setattr(device, "COPY_BYTES", 2**20)
    monkeypatch.setattr(device, "PATIENCE_S", 0.01)
    return tmp_path


def test_profile_is_measured_once_and_remembered(small_measurement: Path) -> None:
    first = measure_device()
    assert first.flops_per_s > 1e6 and first.bytes_per_s > 1e6
    assert first.n_cores == available_cores() >= 1 and first.memory_bytes == available_memory_bytes() > 2**20
    assert measure_device() == first
    assert measure_device(is_fresh=True).measured_at > first.measured_at


def test_a_damaged_memory_of_it_is_measured_again(small_measurement: Path) -> None:
    measure_device()
    (path,) = small_measurement.glob("device-*.json")
    path.write_text('{"name": "x"')
    assert measure_device().flops_per_s > 0
    assert DeviceProfile.from_json(read_json(path)) == measure_device()


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(
    small_measurement: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_measurement / "file").write_text("")
    monkeypatch.setenv("GLASSHOUSE_CACHE", str(small_measurement / "file"))
    assert measure_device().flops_per_s > 0


@pytest.mark.parametrize(
    ("text", "expected"), [("200000 100000", 2.0), ("150000 100000", 1.5), ("max 100000", None), ("", None)]
)
def test_container_quota(tmp_path: Path, text: str, expected: float | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert device._cgroup_quota(tmp_path / "cpu.max") == expected
    assert device._cgroup_quota(tmp_path / "absent") is None


def test_the_peak_is_this_process_s_own() -> None:
    ballast = bytearray(400 * 2**20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    code = "from glasshouse.meter import peak_memory_bytes; print(peak_memory_bytes())"
    child = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 5e6 < child < 300e6
    assert peak_memory_bytes() > 400e6
