"""Where joules come from: RAPL counters for CPUs, NVML counters for NVIDIA GPUs, else an estimate that says it is one.

Every source has `joules()`: the total since the source was made, never falling.
Sources: Linux powercap (`energy_uj` in microjoules, wraps at `max_energy_range_uj`); NVML
`nvmlDeviceGetTotalEnergyConsumption` in millijoules since the driver was loaded.
Counters see the whole chip: other programs running on it are counted too.
Left out: `psys` (it contains the packages again) and the losses of the power supply.
"""

import os
import time
from pathlib import Path
from types import ModuleType
from typing import Protocol

from glasshouse.core.errors import GlasshouseError
from glasshouse.core.extras import require

# One busy core, with its share of caches, memory and board.  Server parts are near 5 W (280 W / 64 cores), laptops
# near 7 W (28 W / 4), desktops near 13 W (105 W / 8): 10 W is right within a factor of two.
WATTS_PER_CORE = 10.0
GPU_WATTS = 400.0  # only to predict; a 700 W data-centre part trains at about 60 % of its limit
POWERCAP = Path("/sys/class/powercap")


class EnergySource(Protocol):
    name: str
    is_estimated: bool

    def joules(self) -> float: ...


class EstimatedSource:
    """`WATTS_PER_CORE` for every second of CPU time of this process and the children it has waited for.

    CPU seconds are cores times utilisation times wall time, so an idle process costs nothing.
    """

    name = f"estimated: {WATTS_PER_CORE:g} W a busy core"
    is_estimated = True

    def __init__(self) -> None:
        self._cpu_s_at_start = _cpu_seconds()

    def joules(self) -> float:
        return WATTS_PER_CORE * (_cpu_seconds() - self._cpu_s_at_start)


class StatedSource:
    """The user's own figure in watts, for every second of wall time."""

    is_estimated = True

    def __init__(self, watts: float) -> None:
        self.name = f"estimated: {watts:g} W as stated in the recipe"
        self._watts, self._started_at = watts, time.perf_counter()

    def joules(self) -> float:
        return self._watts * (time.perf_counter() - self._started_at)


class RaplSource:
    """CPU packages and their memory, from powercap counters.  Raises OSError where they are absent or unreadable.

    A counter wraps after `max_energy_range_uj` (about 260 kJ: 40 minutes at 100 W).  One wrap between two calls of
    `joules` is seen; so call it every minute (`Meter.add_flops` does).
    """

    name = "measured: RAPL"
    is_estimated = False

    def __init__(self, folder: Path = POWERCAP) -> None:
        self._zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if _is_counted(zone)]
        if not self._zones:
            raise FileNotFoundError(f"{folder}: no RAPL energy counters")
        self._range_uj = {zone: _read_int(zone / "max_energy_range_uj") for zone in self._zones}
        self._last_uj = {zone: _read_int(zone / "energy_uj") for zone in self._zones}
        self._total_uj = 0

    def joules(self) -> float:
        for zone in self._zones:
            now_uj = _read_int(zone / "energy_uj")
            used_uj = now_uj - self._last_uj[zone]
            self._total_uj += used_uj if used_uj >= 0 else used_uj + self._range_uj[zone]
            self._last_uj[zone] = now_uj
        return self._total_uj / 1e6


class NvmlSource:
    """One GPU.  `device` is its UUID, as NVML and torch both give it, or its NVML index.

    Cards without an energy counter (before Volta) are asked for their power, held constant between two calls.
    """

    name = "measured: NVML"
    is_estimated = False

    def __init__(self, device: str | int, nvml: ModuleType | None = None) -> None:
        self._nvml = nvml or require("pynvml", "nvidia", "Measuring the energy of an NVIDIA GPU")
        self._nvml.nvmlInit()
        by = self._nvml.nvmlDeviceGetHandleByUUID if isinstance(device, str) else self._nvml.nvmlDeviceGetHandleByIndex
        self._handle = by(device)
        self._total_j, self._last_at = 0.0, time.perf_counter()
        try:
            self._last_mj: float | None = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        except self._nvml.NVMLError:
            self._last_mj = None
            self._nvml.nvmlDeviceGetPowerUsage(self._handle)  # raises here, not in the middle of training

    def joules(self) -> float:
        if self._last_mj is not None:
            now_mj = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
            self._total_j += max(0.0, now_mj - self._last_mj) / 1e3  # the counter restarts with the driver
            self._last_mj = now_mj
        else:
            now = time.perf_counter()
            self._total_j += self._nvml.nvmlDeviceGetPowerUsage(self._handle) / 1e3 * (now - self._last_at)
            self._last_at = now
        return self._total_j


def find_sources(
    device: str, watts: float | None = None, *, powercap: Path = POWERCAP, nvml: ModuleType | None = None
) -> list[EnergySource]:
    """The best sources this machine offers for work on `device` ("cpu", "cuda", "cuda:1"): one CPU, perhaps one GPU."""
    if watts is not None:
        return [StatedSource(watts)]
    sources: list[EnergySource] = []
    if device.startswith("cuda"):
        sources += _gpu_source(device, nvml)
    try:
        sources.append(RaplSource(powercap))
    except (OSError, ValueError):  # absent in most virtual machines; readable by root only on most others
        sources.append(EstimatedSource())
    return sources


class _UnknownGpu:
    name = f"estimated: GPU at {GPU_WATTS:g} W"
    is_estimated = True

    def __init__(self) -> None:
        self._started_at = time.perf_counter()

    def joules(self) -> float:
        return GPU_WATTS * (time.perf_counter() - self._started_at)


def _gpu_source(device: str, nvml: ModuleType | None) -> list[EnergySource]:
    _, _, index = device.partition(":")
    try:
        return [NvmlSource(int(index or 0) if nvml else _gpu_uuid(int(index or 0)), nvml)]
    except GlasshouseError:
        return [_UnknownGpu()]
    except Exception as error:  # NVMLError is made by the module at run time; anything else is a defect of ours
        if type(error).__name__.startswith("NVMLError"):
            return [_UnknownGpu()]
        raise


def _gpu_uuid(index: int) -> str:
    """NVML counts every GPU of the machine, torch only the visible ones: only the UUID means the same to both."""
    import torch  # the caller works on a CUDA device, so torch is loaded; the meter itself must not load it

    return f"GPU-{torch.cuda.get_device_properties(index).uuid}"


def _is_counted(zone: Path) -> bool:
    """Packages, and memory where it has its own counter; cores and uncore are inside the package."""
    try:
        name = (zone / "name").read_text().strip()
    except OSError:
        return False
    return name.startswith("package") or name == "dram"


def _read_int(path: Path) -> int:
    return int(path.read_text())


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
