"""Checkpoints of a stage: what is in one, when one is made, how many are kept, and going on from the newest.

`folder/checkpoints/step-XXXXXXXX` holds weights, optimizer, random states and records, so that going on gives the bits
of a run that never stopped; the newest two are kept.  `folder/checkpoint` is the finished model alone.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from glasshouse.batch import Loader
from glasshouse.checkpoint import (
    TrainingState,
    fill_weights,
    latest_checkpoint,
    load_training_state,
    save_checkpoint,
    verify,
)
from glasshouse.core.errors import CheckpointError
from glasshouse.meter import Cost
from glasshouse.model import Transformer
from glasshouse.optim import BESIDE, OptimizerSet
from glasshouse.tokenizer import Tokenizer
from glasshouse.train.checks import check_identity, is_full_disk
from glasshouse.train.config import FREE_TO_CHANGE, TrainConfig
from glasshouse.train.guard import LossGuard
from glasshouse.train.progress import TrainState

CHECKPOINT_SHARE = 20  # a checkpoint is made no sooner than 20 times as long as the last one took


@dataclass(frozen=True)
class Saved:
    """What a checkpoint tells of the run beside its weights; `cost` and `wall_s` count earlier attempts too."""

    state: TrainState
    cost: Cost
    wall_s: float


class Saver:
    """Saves all that training changes, and loads it in place: model, optimizer, guard, random states, records.

    `about`: the recipe, provenance and parent that every checkpoint carries.
    """

    def __init__(
        self,
        folder: Path,
        model: Transformer,
        tokenizer: Tokenizer,
        optimizer: OptimizerSet,
        guard: LossGuard,
        loader: Loader,
        config: TrainConfig,
        about: Mapping[str, Any],
        beside: nn.Module | None = None,
    ) -> None:
        self.folder, self.checkpoints = folder, folder / "checkpoints"
        self.model, self.tokenizer, self.optimizer, self.guard = model, tokenizer, optimizer, guard
        self.loader, self.config, self.about, self.beside = loader, config, about, beside
        self.saved_step: int | None = None
        self._took_s = 0.0
        self.start_clock()

    def start_clock(self) -> None:
        """The time until the next checkpoint counts from here."""
        self._saved_at = time.perf_counter()

    def is_due(self, step: int) -> bool:
        config = self.config
        if self.guard.n_bad_in_a_row:
            return False  # these weights may be what is wrong; nothing to go back to
        if config.checkpoint_every is not None and step % config.checkpoint_every == 0:
            return True
        if config.checkpoint_every_s is None:
            return False
        return time.perf_counter() - self._saved_at >= max(config.checkpoint_every_s, CHECKPOINT_SHARE * self._took_s)

    def newest(self) -> Path | None:
        return latest_checkpoint(self.checkpoints)

    def newest_in_words(self) -> str:
        found = self.newest()
        return f"The last good checkpoint is {found}." if found else "No checkpoint had been made yet."

    def save(self, saved: Saved) -> None:
        """The checkpoint of a step; the newest two are kept."""
        started_at = time.perf_counter()
        self._write(self.checkpoints / f"step-{saved.state.step:08d}", saved.cost, self._pack(saved))
        self.prune(keep=2)
        self.start_clock()
        self.saved_step = saved.state.step
        self._took_s = self._saved_at - started_at

    def save_finished(self, cost: Cost) -> Path:
        """The model alone, as it is used from now on."""
        return self._write(self.folder / "checkpoint", cost, None)

    def load(self, path: Path) -> Saved:
        """Put everything back as it was; refused where the settings say that going on would give another model."""
        verify(path)
        training = load_training_state(path)
        values = training.values
        check_identity(values["identity"], self._identity(), path)
        fill_weights(self.model, path)
        self._load_beside(training.tensors)
        self.optimizer.load_state(training.tensors, values)
        _load_random_states(training.tensors, self.model.device)
        self.guard.load_state(values["guard"])
        state = TrainState.from_json(values["state"])
        self.saved_step = state.step
        return Saved(state, Cost.from_json(values["cost"]), float(values["wall_s"]))

    def prune(self, keep: int) -> int:
        """Remove all but the newest `keep` step checkpoints; returns how many went."""
        old = sorted(self.checkpoints.glob("step-*"))[:-keep]
        for path in old:
            shutil.rmtree(path, ignore_errors=True)
        return len(old)

    def _pack(self, saved: Saved) -> TrainingState:
        tensors, values = self.optimizer.state()
        records = {
            "state": saved.state.to_json(),
            "guard": self.guard.state(),
            "identity": self._identity(),
            "cost": saved.cost.to_json(),
            "wall_s": saved.wall_s,
        }
        more = {} if self.beside is None else {BESIDE + name: t for name, t in self.beside.state_dict().items()}
        return TrainingState({**tensors, **more, **_random_states(self.model.device)}, {**values, **records})

    def _load_beside(self, tensors: Mapping[str, Tensor]) -> None:
        if self.beside is not None:
            names = self.beside.state_dict()
            self.beside.load_state_dict({name: tensors[BESIDE + name] for name in names})

    def _write(self, path: Path, cost: Cost, training_state: TrainingState | None) -> Path:
        def write() -> Path:
            return save_checkpoint(
                path, self.model, self.tokenizer, cost=cost, training_state=training_state, **self.about
            )

        try:
            return write()
        except CheckpointError as error:
            if not is_full_disk(error) or self.prune(keep=1) == 0:
                raise
            return write()  # the older of two checkpoints made room

    def _identity(self) -> dict[str, Any]:
        """What the weights at the end depend on."""
        train = {k: v for k, v in self.config.model_dump(mode="json").items() if k not in FREE_TO_CHANGE}
        return {
            "train": train,
            "data": self.loader.describe(),
            "model": self.model.config.model_dump(mode="json"),
            "tokenizer": self.tokenizer.hash,
        }


def _random_states(device: torch.device) -> dict[str, Tensor]:
    states = {"rng/cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["rng/cuda"] = torch.cuda.get_rng_state(device)
    return states


def _load_random_states(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(tensors["rng/cpu"].cpu())
    if "rng/cuda" in tensors and device.type == "cuda":
        torch.cuda.set_rng_state(tensors["rng/cuda"].cpu(), device)
