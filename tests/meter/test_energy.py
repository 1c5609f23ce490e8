import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from glasshouse.meter import energy
from glasshouse.meter.energy import EstimatedSource, NvmlSource, RaplSource, StatedSource, find_sources

RANGE_UJ = 262_143_328_850


def write_zone(powercap: Path, zone: str, name: str, energy_uj: int) -> Path:
    folder = powercap / zone
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


class NVMLError(Exception):
    pass


class FakeNvml(SimpleNamespace):
    """Stands for the module `pynvml`: `energy_mj` None means a card without an energy counter."""

    NVMLError = NVMLError

    def __init__(self, energy_mj: float | None = 0, power_mw: float | None = 100_000) -> None:
        super().__init__(energy_mj=energy_mj, power_mw=power_mw, asked=[])

    def nvmlInit(self) -> None:
        if self.power_mw is None:
            raise NVMLError("driver not loaded")

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        self.asked.append(uuid)
        return "handle"

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        self.asked.append(index)
        return "handle"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> float:
        if self.energy_mj is None:
            raise NVMLError("not supported")
        return self.energy_mj

    def nvmlDeviceGetPowerUsage(self, handle: str) -> Any:
        return self.power_mw


def test_rapl_sums_packages_and_memory_but_not_what_lies_inside_them(tmp_path: Path) -> None:
    counters = {
        "intel-rapl:0": write_zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000),
        "intel-rapl:1": write_zone(tmp_path, "intel-rapl:1", "package-1", 2_000_000),
        "intel-rapl:0:0": write_zone(tmp_path, "intel-rapl:0:0", "core", 5),
        "intel-rapl:0:1": write_zone(tmp_path, "intel-rapl:0:1", "dram", 7),
        "intel-rapl:2": write_zone(tmp_path, "intel-rapl:2", "psys", 9),
        "intel-rapl-mmio:0": write_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 1),
    }
    source = RaplSource(tmp_path)
    assert source.joules() == 0
    for path in counters.values():
        path.write_text(str(int(path.read_text()) + 3_000_000))
    assert source.joules() == pytest.approx(3 + 3 + 3)  # two packages and the memory


def test_rapl_counter_that_wraps(tmp_path: Path) -> None:
    counter = write_zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 2_000_000)
    source = RaplSource(tmp_path)
    counter.write_text("5000000")
    assert source.joules() == pytest.approx(7)
    counter.write_text("6000000")
    assert source.joules() == pytest.approx(8)


def test_nvml_energy_counter() -> None:
    nvml = FakeNvml(energy_mj=5_000)
    source = NvmlSource("GPU-abc", nvml)  # type: ignore[arg-type]
    nvml.energy_mj = 12_500
    assert source.joules() == pytest.approx(7.5)
    nvml.energy_mj = 100  # the driver was loaded again
    assert source.joules() == pytest.approx(7.5)
    assert nvml.asked == ["GPU-abc"]


def test_nvml_without_energy_counter_integrates_power(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 13.0])
    monkeypatch.setattr(energy.time, "perf_counter", lambda: next(clock))
    source = NvmlSource(0, FakeNvml(energy_mj=None, power_mw=200_000))  # type: ignore[arg-type]
    assert source.joules() == pytest.approx(600)


def test_sources_of_a_machine_with_counters(tmp_path: Path) -> None:
    write_zone(tmp_path, "intel-rapl:0", "package-0", 1)
    assert [s.name for s in find_sources("cpu", powercap=tmp_path)] == ["measured: RAPL"]
    nvml = FakeNvml()
    both = find_sources("cuda:1", powercap=tmp_path, nvml=nvml)  # type: ignore[arg-type]
    assert [s.name for s in both] == ["measured: NVML", "measured: RAPL"]
    assert nvml.asked == [1]


def test_without_counters_the_source_is_an_estimate_and_says_so(tmp_path: Path) -> None:
    nvml = FakeNvml(power_mw=None)
    sources = find_sources("cuda", powercap=tmp_path, nvml=nvml)  # type: ignore[arg-type]
    assert [s.is_estimated for s in sources] == [True, True]
    assert all(s.name.startswith("estimated") for s in sources)


def test_unreadable_counters_are_as_good_as_absent(tmp_path: Path) -> None:
    write_zone(tmp_path, "intel-rapl:0", "package-0", 1).write_text("")
    assert isinstance(find_sources("cpu", powercap=tmp_path)[0], EstimatedSource)


def test_estimate_follows_the_work_of_the_process_not_the_clock() -> None:
    source = EstimatedSource()
    time.sleep(0.15)
    idle_j = source.joules()
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    busy_j = source.joules() - idle_j
    assert busy_j >= 0.08 * energy.WATTS_PER_CORE
    assert idle_j < busy_j


def test_a_stated_figure_replaces_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_zone(tmp_path, "intel-rapl:0", "package-0", 1)
    (source,) = find_sources("cpu", watts=50, powercap=tmp_path)
    assert isinstance(source, StatedSource) and "50 W" in source.name
    start = source._started_at
    monkeypatch.setattr(energy.time, "perf_counter", lambda: start + 4)
    assert source.joules() == pytest.approx(200)
