"""What learning from judged answers has in common, whatever the loss: its settings, its held-out part, its trainer.

"Offline": the answers were there before; nothing is sampled while learning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from glasshouse.align.reference import recipe_of, weights_id
from glasshouse.batch import Loader
from glasshouse.core.config import Config
from glasshouse.core.errors import DataError
from glasshouse.core.records import Preference, Ranking, Thumb
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.seeds import numpy_generator
from glasshouse.core.terminal import Terminal
from glasshouse.meter import DeviceProfile, Meter
from glasshouse.model import Transformer
from glasshouse.objective import Objective
from glasshouse.optim import OptimConfig, ScheduleConfig
from glasshouse.tokenizer import Tokenizer
from glasshouse.train import GuardConfig, TrainConfig, Trainer
from glasshouse.train.trainer import Evaluate

LR = 1e-4  # with AdamW; Muon's steps have the same size however little the pairs say
Judged = TypeVar("Judged", bound=Preference | Ranking | Thumb)


class OfflineConfig(Config):
    epochs: float = Field(default=1.0, gt=0)  # people disagree: a second reading of few pairs learns them by heart
    held_out_share: float = Field(default=0.1, ge=0, lt=1)  # judged by, never learned from
    seq_len: int | None = Field(default=None, gt=0)  # None: what the model can read
    batch_tokens: int = Field(default=8192, gt=0)
    microbatch_tokens: int | None = Field(default=None, gt=0)
    optim: OptimConfig = OptimConfig(matrices="adamw", matrix_lr=LR, embedding_lr=LR, head_lr=LR, vector_lr=LR)
    schedule: ScheduleConfig = ScheduleConfig(warmup_steps=5)
    clip_norm: float | None = Field(default=1.0, gt=0)
    guard: GuardConfig = GuardConfig()
    eval_every: int | None = Field(default=None, gt=0)  # steps; the end is always evaluated
    checkpoint_every_s: float | None = Field(default=60.0, ge=0)
    checkpoint_every: int | None = Field(default=None, gt=0)  # steps
    metric_every: int | None = Field(default=None, gt=0)  # steps; None: about once a second
    seed: int = 0

    def training(self, n_batches: int, seq_len: int) -> TrainConfig:
        """`n_batches` in an epoch."""
        return TrainConfig(
            steps=max(1, round(self.epochs * n_batches)), seq_len=seq_len, batch_tokens=self.batch_tokens,
            microbatch_tokens=self.microbatch_tokens, optim=self.optim, schedule=self.schedule,
            clip_norm=self.clip_norm, guard=self.guard, compile="never", sample_at=(), max_epochs=None, seed=self.seed,
            eval_every=self.eval_every, checkpoint_every_s=self.checkpoint_every_s,
            checkpoint_every=self.checkpoint_every, metric_every=self.metric_every,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stage works and what it tells."""

    stage: str
    run: RunDirectory
    folder: Path
    terminal: Terminal
    meter: Meter
    profile: DeviceProfile


def trainer_of(
    place: Place, model: Transformer, tokenizer: Tokenizer, loader: Loader, objective: Objective, config: TrainConfig,
    *, parent: Path, settings: Config, provenance: Mapping[str, Any], evaluate: Evaluate | None,
) -> Trainer:  # fmt: skip
    return Trainer(
        model, tokenizer, loader, objective, config, stage=place.stage, run=place.run, folder=place.folder,
        terminal=place.terminal, meter=place.meter, device_profile=place.profile, evaluate=evaluate,
        provenance=provenance, parent=weights_id(parent), recipe=recipe_of(parent, settings),
    )  # fmt: skip


def split_by_prompt(judged: Sequence[Judged], held_out_share: float, seed: int) -> tuple[list[Judged], list[Judged]]:
    """(to learn from, to judge by): about `held_out_share` of the prompts, with all their answers."""
    prompts = list(dict.fromkeys(record.prompt for record in judged))
    n_held_out = round(held_out_share * len(prompts))
    drawn = {prompts[int(p)] for p in numpy_generator(seed, "held out").permutation(len(prompts))[:n_held_out]}
    learned = [record for record in judged if record.prompt not in drawn]
    held_out = [record for record in judged if record.prompt in drawn]
    if not learned or (held_out_share and not held_out):
        raise DataError(
            f"{len(judged)} judged answers to {len(prompts)} prompts cannot be split into some to learn from and "
            f"{held_out_share:.0%} to judge by. Give more, or set held_out_share = 0."
        )
    return learned, held_out
