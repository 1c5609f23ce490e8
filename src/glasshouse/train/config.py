"""What a recipe may say about training."""

from typing import Any, Literal

from pydantic import Field, PositiveInt

from glasshouse.core.config import Config
from glasshouse.model import Keeps
from glasshouse.model.native import Kernels
from glasshouse.optim import OptimConfig, ScheduleConfig
from glasshouse.train.compiling import CompileMode
from glasshouse.train.gradient import Precision
from glasshouse.train.guard import GuardConfig


class TrainConfig(Config):
    steps: int = Field(gt=0)
    seq_len: int = Field(gt=0)
    batch_tokens: int = Field(gt=0)
    microbatch_tokens: PositiveInt | Literal["auto"] | None = None  # None: all at once; "auto": as many as fit
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    clip_norm: float | None = Field(default=1.0, gt=0)
    guard: GuardConfig = GuardConfig()
    precision: Precision = "auto"
    recompute: float = Field(default=0.0, ge=0, le=1)  # share of layers computed again in backward, to save memory
    recompute_keeps: Keeps = "input"  # of these layers; "products": attention and every second product too
    compile: CompileMode = "auto"
    kernels: Kernels = "auto"  # on CPU the C++ ones where they can be built; "torch": never
    eval_every: int | None = Field(default=None, gt=0)  # steps; the end is always evaluated
    sample_at: tuple[float, ...] = (0.0, 0.05, 0.2, 0.5, 1.0)  # shares of the run
    checkpoint_every_s: float | None = Field(default=60.0, ge=0)
    checkpoint_every: int | None = Field(default=None, gt=0)  # steps, beside the time
    metric_every: int | None = Field(default=None, gt=0)  # steps; None: about once a second
    max_epochs: float | None = Field(default=100.0, gt=0)  # repeating text more than 40 times adds nothing
    seed: int = 0  # of the weights and the order of the data, which the caller builds; recorded here

    @property
    def recomputed(self) -> dict[str, Any]:
        """As `model.training_bytes` wants to know it."""
        return {"recompute": self.recompute, "keeps": self.recompute_keeps}

    @property
    def planned_microbatch_tokens(self) -> int:
        """What is counted with before anything is tried: where it is "auto", the whole batch."""
        return self.microbatch_tokens if isinstance(self.microbatch_tokens, int) else self.batch_tokens


# What may differ between a checkpoint and the recipe that resumes it: it does not change the weights.
FREE_TO_CHANGE = {
    "eval_every",
    "sample_at",
    "checkpoint_every_s",
    "checkpoint_every",
    "metric_every",
    "max_epochs",
    "recompute_keeps",
    "kernels",
}  # a run keeps those it began with, unless torch is asked for
