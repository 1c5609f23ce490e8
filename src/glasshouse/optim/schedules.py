"""Learning-rate schedules: pure functions of the step that return a factor of the peak rate.

`step` counts finished updates from 0; the first update runs at `factor(0)`.  Warm-up rises as (step + 1) / warmup, so
that no update has rate zero.  Sources: WSD arXiv:2404.06395 (linear decay to zero as in arXiv:2405.18392), cosine
arXiv:1608.03983.
"""

import math
from collections.abc import Callable
from typing import Literal

from pydantic import Field

from glasshouse.core.config import Config


class ScheduleConfig(Config):
    kind: Literal["wsd", "cosine", "linear", "constant"] = "wsd"
    warmup_steps: int = Field(default=20, ge=0)
    decay_fraction: float = Field(default=0.4, gt=0, le=1)  # wsd only: the share of the run spent going down
    final_factor: float = Field(default=0.0, ge=0, le=1)


def wsd(step: int, n_steps: int, config: ScheduleConfig) -> float:
    """Warm up, stay, decay linearly over the last `decay_fraction`."""
    n_decay = max(1, round(n_steps * config.decay_fraction))
    return _down((n_steps - step) / n_decay, config)


def linear(step: int, n_steps: int, config: ScheduleConfig) -> float:
    """Warm up, then straight down to the end."""
    return _down((n_steps - step) / max(1, n_steps - config.warmup_steps), config)


def cosine(step: int, n_steps: int, config: ScheduleConfig) -> float:
    """Warm up, then half a cosine down to the end."""
    done = (step - config.warmup_steps) / max(1, n_steps - config.warmup_steps)
    return _down(0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, done)))), config)


def constant(step: int, n_steps: int, config: ScheduleConfig) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[[int, int, ScheduleConfig], float]] = {
    "wsd": wsd,
    "cosine": cosine,
    "linear": linear,
    "constant": constant,
}


def factor(step: int, n_steps: int, config: ScheduleConfig) -> float:
    """The factor for update `step` of `n_steps`: the lower of warm-up and schedule."""
    warmup = (step + 1) / config.warmup_steps if step < config.warmup_steps else 1.0
    return min(warmup, SCHEDULES[config.kind](step, n_steps, config))


def _down(share_left: float, config: ScheduleConfig) -> float:
    return config.final_factor + (1 - config.final_factor) * min(1.0, max(0.0, share_left))
