"""How far a run has come: its state, the figures of the steps since the last record, and the result at the end.

Units: nats, bits per byte, tokens, seconds.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from glasshouse.batch import Cursor
from glasshouse.meter import Cost


@dataclass
class TrainState:
    """Everything of a run but weights and optimizer.  `busy_s` is time in steps, hooks and checkpoints left out."""

    step: int
    cursor: Cursor
    n_tokens: int = 0
    flops: float = 0.0
    busy_s: float = 0.0
    n_rollbacks: int = 0
    loss: float | None = None
    bits_per_byte: float | None = None
    evaluation: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "cursor": self.cursor.to_json()}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "TrainState":
        return TrainState(**{**record, "cursor": Cursor.from_json(record["cursor"])})


@dataclass
class Interval:
    """Sums since the last metrics record.  Losses and bytes are of the steps that were taken, work is of all."""

    loss_sum: float = 0.0
    n_targets: int = 0
    n_bytes: int = 0
    n_tokens: int = 0
    flops: float = 0.0
    busy_s: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)  # what a loss tells beside itself, summed over targets

    def add(self, loss_sum: float, n_targets: int, n_bytes: int, metrics: Mapping[str, float]) -> None:
        """One good step."""
        self.loss_sum += loss_sum
        self.n_targets += n_targets
        self.n_bytes += n_bytes
        for name, value in metrics.items():
            self.metrics[name] = self.metrics.get(name, 0.0) + value

    def quality(self) -> dict[str, float]:
        metrics = {}
        if self.n_targets:
            metrics["loss"] = self.loss_sum / self.n_targets
            metrics |= {name: value / self.n_targets for name, value in self.metrics.items()}
        if self.n_bytes:
            metrics["bits_per_byte"] = self.loss_sum / math.log(2) / self.n_bytes
        return metrics

    def speed(self, peak_flops_per_s: float) -> dict[str, float]:
        share = self.flops / self.busy_s / peak_flops_per_s
        return {"tokens_per_s": self.n_tokens / self.busy_s, "share_of_peak": share}


@dataclass(frozen=True)
class TrainResult:
    """`loss` and `bits_per_byte` are of the last training steps; `seconds` and `cost` count earlier attempts too."""

    steps: int
    n_tokens: int
    loss: float | None
    bits_per_byte: float | None
    seconds: float
    tokens_per_s: float
    share_of_peak: float
    cost: Cost
    checkpoint: Path
    n_skipped: int = 0
    evaluation: Mapping[str, float] = field(default_factory=dict)
    compiled: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "cost": self.cost.to_json(), "checkpoint": str(self.checkpoint)}


def note(state: TrainState, speed: Mapping[str, float], cost: Cost) -> str:
    """The words beside the bar: `loss 2.345 · 1.234 bits/byte · 12,345 tok/s · 67 % of peak · 890 J (est.)`."""
    quality = "" if state.loss is None else f"loss {state.loss:.3f}"
    if state.bits_per_byte is not None:
        quality += f" · {state.bits_per_byte:.3f} bits/byte"
    joules = f"{cost.joules:,.0f} J{' (est.)' if cost.is_estimated else ''}"
    return f"{quality} · {speed['tokens_per_s']:,.0f} tok/s · {100 * speed['share_of_peak']:.0f} % of peak · {joules}"
