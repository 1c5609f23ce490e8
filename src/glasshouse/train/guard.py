"""Losses that cannot be right: not finite, or far above what the run has been seeing.

A bad step is not taken.  After several in a row the weights themselves are suspect, and the trainer goes back to the
last checkpoint, past the data that led here.  A mean over few targets strays further: what is allowed grows as one over
the root of their number.  The state is a few numbers, stored with the checkpoint, so that a resumed run judges as the
uninterrupted one would.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import Field

from glasshouse.core.config import Config

Verdict = Literal["good", "not finite", "spike"]


class GuardConfig(Config):
    spike_deviations: float = Field(default=8.0, gt=0)  # a spike is this many mean deviations above the mean ...
    spike_nats: float = Field(default=1.0, gt=0)  # ... and this much above it: near the end deviations are tiny
    memory: float = Field(default=0.98, gt=0, lt=1)  # of the running mean: about the last 50 steps
    warmup_steps: int = Field(default=50, ge=0)  # no spikes are called before this many good steps
    patience: int = Field(default=3, ge=1)  # bad steps in a row before going back
    max_rollbacks: int = Field(default=3, ge=0)  # after that the run stops: the recipe is at fault, not the data


@dataclass
class LossGuard:
    """Running mean and mean absolute deviation of the good losses, and how many bad ones came in a row."""

    config: GuardConfig
    mean: float = 0.0
    deviation: float = 0.0
    n_targets: float = 0.0  # of a typical batch
    n_good: int = 0
    n_bad_in_a_row: int = 0
    n_skipped: int = 0

    def judge(self, loss: float, grad_norm: float, n_targets: int) -> Verdict:
        """The verdict on a step not yet taken, whose loss is a mean over `n_targets`; remembers it."""
        verdict = self._verdict(loss, grad_norm, n_targets)
        if verdict == "good":
            self._remember(loss, n_targets)
        else:
            self.n_bad_in_a_row += 1
            self.n_skipped += 1
        return verdict

    @property
    def is_lost(self) -> bool:
        return self.n_bad_in_a_row >= self.config.patience

    def state(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "config"}

    def load_state(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            setattr(self, key, value)

    def _verdict(self, loss: float, grad_norm: float, n_targets: int) -> Verdict:
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return "not finite"
        usual = max(self.config.spike_nats, self.config.spike_deviations * self.deviation)
        limit = self.mean + usual * max(1.0, self.n_targets / n_targets) ** 0.5
        return "spike" if self.n_good >= self.config.warmup_steps and loss > limit else "good"

    def _remember(self, loss: float, n_targets: int) -> None:
        self.n_bad_in_a_row = 0
        # a plain average at first, so that the first loss does not weigh for fifty steps
        weight = max(1 - self.config.memory, 1 / (self.n_good + 1))
        self.mean += weight * (loss - self.mean)
        self.deviation += weight * (abs(loss - self.mean) - self.deviation)
        self.n_targets += weight * (n_targets - self.n_targets)
        self.n_good += 1
