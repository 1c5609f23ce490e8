"""What work cost, in the same units at every stage.

Units: floating-point operations, seconds of wall time, joules, US dollars and grams of CO2 for the electricity.
`is_estimated` speaks of the joules (and so of the money and the CO2): True unless counters measured all of them.
Left out: the price of the machine itself and the CO2 of making it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field

from glasshouse.core.config import Config

JOULES_PER_KWH = 3.6e6


class MeterConfig(Config):
    usd_per_kwh: float = Field(
        default=0.30, ge=0
    )  # a household price in much of Europe and North America; set your own
    co2_g_per_kwh: float = Field(
        default=400.0, ge=0
    )  # near the world's average grid; from about 30 (Norway) to 650 (Poland)
    watts: float | None = Field(
        default=None, gt=0
    )  # your own figure for the machine at work; replaces counters and estimate


@dataclass(frozen=True, slots=True)
class Cost:
    """Costs add: `Cost(seconds=1) + Cost(seconds=2)` -> `Cost(seconds=3)`."""

    flops: float = 0.0
    seconds: float = 0.0
    joules: float = 0.0
    usd: float = 0.0
    co2_g: float = 0.0
    is_estimated: bool = True

    def __add__(self, other: "Cost") -> "Cost":
        # A cost without energy says nothing about how energy was found, so that sums may start from Cost().
        speaking = [cost.is_estimated for cost in (self, other) if cost.joules > 0]
        return Cost(
            self.flops + other.flops,
            self.seconds + other.seconds,
            self.joules + other.joules,
            self.usd + other.usd,
            self.co2_g + other.co2_g,
            is_estimated=any(speaking) if speaking else True,
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "Cost":
        """Inverse of `to_json`.  Keys of a later version are left out, absent ones get their default."""
        return Cost(**{key: record[key] for key in Cost.__dataclass_fields__ if key in record})


def price(flops: float, seconds: float, joules: float, config: MeterConfig, *, is_estimated: bool) -> Cost:
    """The cost of `joules` at the configured price and grid intensity.  3.6 MJ at 0.30 USD/kWh -> 0.30 USD."""
    kwh = joules / JOULES_PER_KWH
    return Cost(flops, seconds, joules, kwh * config.usd_per_kwh, kwh * config.co2_g_per_kwh, is_estimated)
