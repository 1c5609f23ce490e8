"""The one dial: how much time, how many parameters, or how many floating-point operations.

parse_duration("1h 30m") -> 5400.0        parse_count("5M") -> 5e6        parse_count("1e15") -> 1e15
"""

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from glasshouse.core.config import Config
from glasshouse.core.errors import ConfigError

SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
MULTIPLES = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


class DialConfig(Config):
    """Exactly one of `time`, `params`, `flops`; everything that the recipe leaves open follows from it."""

    time: str | None = None  # the whole life, from text to report: "10m", "1h 30m"
    params: str | None = None  # the model's size: "5M"
    flops: str | None = None  # of training: "1e15", "200T"
    size_factor: float = Field(default=1.0, gt=0)  # times the size that the scaling law likes best for the compute
    ladder: str | None = None  # a folder of `glass ladder`, whose law is used in place of the built-in one
    pretrain_share: float = Field(default=0.4, gt=0, le=1)  # of the training time, where fine-tuning follows


@dataclass(frozen=True, slots=True)
class Budget:
    """`amount` is in seconds, parameters or floating-point operations."""

    kind: Literal["time", "params", "flops"]
    amount: float

    @staticmethod
    def of(dial: DialConfig) -> "Budget":
        """Raises `ConfigError` unless exactly one of the dial's three is set, to something sensible."""
        given = {name: value for name in ("time", "params", "flops") if (value := getattr(dial, name)) is not None}
        if len(given) != 1:
            raise ConfigError(
                f"the dial takes exactly one of time, params and flops; given: {', '.join(given) or 'none'}. "
                "For example --time 10m"
            )
        if dial.time is not None:
            return Budget("time", parse_duration(dial.time))
        if dial.params is not None:
            return Budget("params", parse_count(dial.params))
        return Budget("flops", parse_count(str(dial.flops)))


def parse_duration(text: str) -> float:
    """Seconds of `10m`, `90s`, `1h 30m`, `2 d`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)", text.strip())
    if not parts or re.sub(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)|\s+", "", text):
        raise ConfigError(f"a time is written like 10m, 90s or 1h 30m; got {text!r}")
    seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if seconds <= 0:
        raise ConfigError(f"a time budget must be more than nothing; got {text!r}")
    return seconds


def parse_count(text: str) -> float:
    """The number in `5M`, `1.5B`, `1e15`, `200T`."""
    match = re.fullmatch(
        r"\s*(\d+(?:\.\d+)?(?:[eE][+]?\d+)?)\s*([KMBGTPE]?)\s*", text.replace("_", "").replace("k", "K")
    )
    if match is None or float(match[1]) <= 0:
        raise ConfigError(f"a count is written like 5M, 1.5B or 1e15; got {text!r}")
    return float(match[1]) * MULTIPLES[match[2]]
