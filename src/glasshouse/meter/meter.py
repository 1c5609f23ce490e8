"""The meter that every stage runs under.

with Meter(config, "cpu") as meter:
    meter.add_flops(1e9)
meter.cost_so_far()
"""

import time
from types import TracebackType

from glasshouse.meter.cost import Cost, MeterConfig, price
from glasshouse.meter.energy import GPU_WATTS, WATTS_PER_CORE, EnergySource, find_sources

READ_EVERY_S = 60.0  # RAPL counters wrap within about 40 minutes; NVML power readings are held in between


class Meter:
    """Time, work and energy from `start` to `stop`.  What an earlier process spent the caller adds: costs add."""

    def __init__(
        self, config: MeterConfig, device_name: str = "cpu", *, sources: list[EnergySource] | None = None
    ) -> None:
        self._config, self._device = config, device_name
        self._given_sources = sources
        self._sources: list[EnergySource] = []
        self._flops = self._seconds = self._joules = 0.0
        self._started_at: float | None = None
        self._read_at = 0.0

    @property
    def source(self) -> str:
        """How the joules were found, in words: `measured: RAPL`, `estimated: 10 W a busy core`."""
        return " + ".join(source.name for source in self._sources) or "not started"

    def start(self) -> "Meter":
        """Begin, or begin again from zero."""
        self._sources = self._given_sources or find_sources(self._device, self._config.watts)
        self._flops = self._seconds = self._joules = 0.0
        self._joules_at_start = self._read_energy()
        self._started_at = time.perf_counter()
        return self

    def stop(self) -> Cost:
        """The whole cost.  The meter stands still until it is started again."""
        self._advance()
        self._started_at = None
        return self._cost()

    def add_flops(self, n_flops: float) -> None:
        self._flops += n_flops
        if self._started_at is not None and time.perf_counter() - self._read_at >= READ_EVERY_S:
            self._advance()

    def cost_so_far(self) -> Cost:
        self._advance()
        return self._cost()

    def __enter__(self) -> "Meter":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _advance(self) -> None:
        if self._started_at is not None:
            self._seconds = time.perf_counter() - self._started_at
            self._joules = self._read_energy() - self._joules_at_start

    def _read_energy(self) -> float:
        self._read_at = time.perf_counter()
        return sum(source.joules() for source in self._sources)

    def _cost(self) -> Cost:
        is_estimated = any(source.is_estimated for source in self._sources) or not self._sources
        return price(self._flops, self._seconds, self._joules, self._config, is_estimated=is_estimated)


def predict_cost(
    flops: float, seconds: float, config: MeterConfig, *, n_cores: int, device: str = "cpu", utilisation: float = 1.0
) -> Cost:
    """What `seconds` of work will cost with `n_cores` kept busy for the share `utilisation` of the time; estimated."""
    watts = config.watts
    if watts is None:
        watts = WATTS_PER_CORE * n_cores * utilisation if device == "cpu" else GPU_WATTS + WATTS_PER_CORE
    return price(flops, seconds, watts * seconds, config, is_estimated=True)
