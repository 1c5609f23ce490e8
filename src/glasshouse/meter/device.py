"""How fast this machine really is: a matrix product and a copy, timed once and remembered.

Units: flops_per_s counts a multiply-add as two; bytes_per_s counts the bytes read and the bytes written.
CPU figures are fp32 and CUDA figures bf16, the types that training uses there.
Left out: several GPUs (one is measured), disk speed.
"""

import hashlib
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from glasshouse.core.environment import cache_directory, n_threads_asked, start_torch
from glasshouse.core.files import read_json, write_json

if TYPE_CHECKING:
    import torch

MATMUL_SIZE = {"cpu": 2048, "cuda": 8192}
COPY_BYTES = 256 * 2**20  # two of these exceed the largest last-level caches on sale
PATIENCE_S = 0.8  # for each of the two measurements, so that a slow laptop is not asked for a minute


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """`measured_at` is a Unix time."""

    name: str
    device: str
    n_cores: int
    memory_bytes: int
    flops_per_s: float
    bytes_per_s: float
    measured_at: float
    torch_version: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "DeviceProfile":
        return DeviceProfile(**{key: record[key] for key in DeviceProfile.__dataclass_fields__})


def measure_device(device: str = "cpu", is_fresh: bool = False) -> DeviceProfile:
    """The profile of `device`, from the cache of this machine unless `is_fresh`; a new one takes under 2 s."""
    import torch  # here, so that who only reads a profile (plan, report) need not load torch

    start_torch()
    name = _device_name(device)
    path = _cache_path(name, device, torch.__version__)
    if not is_fresh and (known := _read_profile(path)) is not None:
        return known
    profile = DeviceProfile(
        name=name,
        device=device,
        n_cores=available_cores(),
        memory_bytes=available_memory_bytes(device),
        flops_per_s=_measure_matmul(device),
        bytes_per_s=_measure_copy(device),
        measured_at=time.time(),
        torch_version=torch.__version__,
    )
    with suppress(OSError):  # a read-only home is no reason not to work: measured again next time
        write_json(path, profile.to_json())
    return profile


def available_cores() -> int:
    """Cores this process may use: the affinity mask, and a container's quota where one is set."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(Path("/sys/fs/cgroup/cpu.max"))
    return max(1, min(n_cores, round(quota))) if quota else n_cores


def available_memory_bytes(device: str = "cpu") -> int:
    """All the memory of the device that this process may ever use (a container's limit where one is set)."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    limits = [psutil.virtual_memory().total]
    with suppress(OSError, ValueError):  # no cgroup v2, or "max"
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits)


def peak_memory_bytes() -> int:
    """The most resident memory this process has held.

    `ru_maxrss` survives exec, so a child of a large process would report its parent's peak: Linux's own VmHWM does not.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _cgroup_quota(path: Path) -> float | None:
    """Cores allowed by a cgroup v2 `cpu.max` ("200000 100000" -> 2.0; "max 100000" -> None)."""
    try:
        quota, period = path.read_text().split()
        return float(quota) / float(period)
    except (OSError, ValueError):
        return None


def _cache_path(name: str, device: str, torch_version: str) -> Path:
    what = "/".join(map(str, (name, device, available_cores(), n_threads_asked(), torch_version, platform.node())))
    return cache_directory() / f"device-{hashlib.sha256(what.encode()).hexdigest()[:12]}.json"


def _read_profile(path: Path) -> DeviceProfile | None:
    try:
        return DeviceProfile.from_json(read_json(path))
    except (OSError, ValueError, KeyError, TypeError):  # absent, torn or of another version: measure again
        return None


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _measure_matmul(device: str) -> float:
    import torch

    kind = device.partition(":")[0]
    size = MATMUL_SIZE.get(kind, 2048)
    dtype = torch.float32 if kind == "cpu" else torch.bfloat16
    a, b = (torch.randn(size, size, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * size**3 / _best_seconds(lambda: torch.mm(a, b, out=out), device)


def _measure_copy(device: str) -> float:
    import torch

    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / _best_seconds(lambda: target.copy_(source), device)


def _best_seconds(work: "Callable[[], torch.Tensor]", device: str) -> float:
    """The shortest of at least two runs after a first one that warms up; interruptions only ever lengthen a run."""
    best, begun_at = float("inf"), time.perf_counter()
    n_runs = 0
    while n_runs < 3 or time.perf_counter() - begun_at < PATIENCE_S / 2:
        started_at = time.perf_counter()
        work()
        _finish(device)
        if n_runs > 0:
            best = min(best, time.perf_counter() - started_at)
        n_runs += 1
        if n_runs >= 2 and time.perf_counter() - begun_at > PATIENCE_S:
            break
    return best


def _finish(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
