"""Checkpoints of a stage: what is in one, when one is made, how many are kept, and going on from the newest.

`folder/checkpoints/step-XXXXXXXX` holds weights, optimizer, random states and records, so that going on gives the bits
of a run that never stopped; the newest two are kept.  `folder/checkpoint` is the finished model alone.
A checkpoint is written beside training, from a copy of the state made between two steps.  Many processes write one
together, in the form that one process writes, so any number of them goes on from it.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from glasshouse.batch import Loader
from glasshouse.checkpoint import (
    TrainingState,
    complete_checkpoint,
    fill_weights,
    latest_checkpoint,
    load_training_state,
    load_training_values,
    save_checkpoint,
    verify,
    write_training_values,
)
from glasshouse.core.errors import CheckpointError
from glasshouse.meter import Cost
from glasshouse.model import Transformer
from glasshouse.optim import BESIDE, OptimizerSet, parameter_name
from glasshouse.parallel import Mesh, Team, copied, piece_of_zeros, tell
from glasshouse.tokenizer import Tokenizer
from glasshouse.train.checks import check_identity, is_full_disk
from glasshouse.train.config import FREE_TO_CHANGE, TrainConfig
from glasshouse.train.errand import Errand
from glasshouse.train.filling import weights_of
from glasshouse.train.guard import LossGuard
from glasshouse.train.progress import TrainState

CHECKPOINT_SHARE = 20  # a checkpoint is made no sooner than 20 times as long as the last one took


@dataclass(frozen=True)
class Saved:
    """What a checkpoint tells of the run beside its weights; `cost` and `wall_s` count earlier attempts too."""

    state: TrainState
    cost: Cost
    wall_s: float


Writer = Callable[[Path, Cost, TrainingState | None], None]


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
        team: Team | None = None,
    ) -> None:
        self.team = team or Team(model, Mesh())
        self.folder, self.checkpoints = folder, folder / "checkpoints"
        self.model, self.tokenizer, self.optimizer, self.guard = model, tokenizer, optimizer, guard
        self.loader, self.config, self.about, self.beside = loader, config, about, beside
        self.saved_step: int | None = None
        self.writes_step: int | None = None
        self._errand: Errand | None = None
        self._copy: Transformer | None = None  # what is written while the model trains on
        self._took_s = 0.0
        self.start_clock()

    def start_clock(self) -> None:
        """The time until the next checkpoint counts from here."""
        self._saved_at = time.perf_counter()

    def is_due(self, step: int, is_time: bool | None = None) -> bool:
        """`is_time`: what `is_time()` said on the main rank, whose clock counts for all."""
        if self.guard.n_bad_in_a_row:
            return False  # these weights may be what is wrong; nothing to go back to
        if self.config.checkpoint_every is not None and step % self.config.checkpoint_every == 0:
            return True
        return self.is_time() if is_time is None else is_time

    def is_time(self) -> bool:
        """By the clock; while one is being written, however slowly, no other is."""
        every_s = self.config.checkpoint_every_s
        if every_s is None or (self._errand is not None and self._errand.is_running):
            return False
        return time.perf_counter() - self._saved_at >= max(every_s, CHECKPOINT_SHARE * self._took_s)

    @property
    def has_failed(self) -> bool:
        """Whether writing beside training came to nothing; `finish` says why."""
        return self._errand is not None and self._errand.has_failed

    def finish(self) -> None:
        """Wait for what is being written; raises its failure, once."""
        errand, self._errand = self._errand, None
        if errand is not None:
            errand.finish()

    def settle(self) -> None:
        """Wait for what is being written, however it ends: whoever stops early leaves whole checkpoints."""
        if self._errand is not None:
            self._errand.wait()

    def newest(self) -> Path | None:
        """As the main rank finds it.  Collective."""
        self.finish()
        found = latest_checkpoint(self.checkpoints) if self.team.is_main else None
        path = tell(self.team.mesh, None if found is None else str(found))
        return None if path is None else Path(path)

    def newest_in_words(self) -> str:
        found = latest_checkpoint(self.checkpoints)
        return f"The last good checkpoint is {found}." if found else "No checkpoint had been made yet."

    def save(self, saved: Saved, *, is_beside: bool = False) -> None:
        """The checkpoint of a step; the newest two are kept.  `is_beside`: training goes on while it is written."""
        self.finish()
        started_at = time.perf_counter()
        step = self.writes_step = saved.state.step
        path, cost, packed = self.checkpoints / f"step-{step:08d}", saved.cost, self._pack(saved)

        def write() -> None:
            write_it(path, cost, packed)
            self.prune(keep=2)
            self._took_s = time.perf_counter() - started_at

        if self.team.mesh.world_size > 1:
            packed, weights = _copied_state(packed), copied(weights_of(self.model))
            write_it = self._writer_together(weights)
        elif is_beside:
            packed, write_it = _copied_state(packed), self._writer_of(self._copied_model())
        else:
            write_it = self._writer_of(self.model)
        if is_beside:
            self._errand = Errand(write)
        else:
            write()
        self.start_clock()
        self.saved_step = step

    def save_finished(self, cost: Cost) -> Path:
        """The model alone, as it is used from now on."""
        path = self.folder / "checkpoint"
        if self.team.mesh.world_size > 1:
            self._writer_together(weights_of(self.model))(path, cost, None)
        else:
            self._writer_of(self.model)(path, cost, None)
        return path

    def load(self, path: Path) -> Saved:
        """Put everything back as it was; refused where the settings say that going on would give another model."""
        if self.team.mesh.world_size > 1:
            values = self._load_together(path)
        else:
            verify(path)
            training = load_training_state(path)
            values = training.values
            check_identity(self._as_now(values["identity"]), self._identity(), path)
            fill_weights(self.model, path)
            self._load_beside(training.tensors)
            self.optimizer.load_state(training.tensors, values)
            _load_random_states(training.tensors, self.model.device)
        self.guard.load_state(values["guard"])
        state = TrainState.from_json(values["state"])
        self.saved_step = state.step
        return Saved(state, Cost.from_json(values["cost"]), float(values["wall_s"]))

    def _load_together(self, path: Path) -> Mapping[str, Any]:
        """Each process reads its pieces, whatever pieces they were written in."""
        from glasshouse.checkpoint import load_divided, stored_shapes

        values = load_training_values(path)
        check_identity(self._as_now(values["identity"]), self._identity(), path)
        own = self.optimizer.by_name()
        state: dict[str, Any] = {}
        for key, (shape, dtype) in stored_shapes(path).items():
            if (owner := own.get(parameter_name(key) or "")) is not None:
                state[key] = piece_of_zeros(owner, shape, dtype)
            elif key == "rng/cpu":
                state[key] = torch.zeros(shape, dtype=dtype)
        load_divided(path, {**weights_of(self.model), **state})
        self.optimizer.load_state(state, values)
        _load_random_states(state, torch.device("cpu"))
        return values

    def prune(self, keep: int) -> int:
        """Remove all but the newest `keep` step checkpoints; returns how many went."""
        old = sorted(self.checkpoints.glob("step-*"))[:-keep] if self.team.is_main else []
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

    def _copied_model(self) -> Transformer:
        """The weights of this moment, on the CPU.  The memory is kept: the next copy needs no new one."""
        if self._copy is None:
            self._copy = type(self.model).blank(self.model.config).to(self.model.dtype)
            self._copy.to_empty(device="cpu")
        with torch.no_grad():
            torch._foreach_copy_(list(self._copy.parameters()), list(self.model.parameters()))
        return self._copy

    def _writer_of(self, model: Transformer) -> Writer:
        def write(path: Path, cost: Cost, training_state: TrainingState | None) -> None:
            def attempt() -> None:
                save_checkpoint(path, model, self.tokenizer, cost=cost, training_state=training_state, **self.about)

            try:
                attempt()
            except CheckpointError as error:
                if not is_full_disk(error) or self.prune(keep=1) == 0:
                    raise
                attempt()  # the older of two checkpoints made room

        return write

    def _writer_together(self, weights: Mapping[str, Tensor]) -> Writer:
        """Collective: every rank writes its pieces, the main rank the rest."""
        from glasshouse.checkpoint import save_divided

        def write(path: Path, cost: Cost, training_state: TrainingState | None) -> None:
            def write_rest(folder: Path) -> None:
                if training_state is not None:
                    write_training_values(folder, training_state.values)
                complete_checkpoint(folder, self.model, self.tokenizer, cost=cost, **self.about)

            tensors = {} if training_state is None else training_state.tensors
            group = self.team.mesh.save_group
            try:
                save_divided(path, {**weights, **tensors}, write_rest, group)
            except CheckpointError as error:
                if not is_full_disk(error):
                    raise
                self.prune(keep=1)  # the older of two checkpoints makes room
                save_divided(path, {**weights, **tensors}, write_rest, group)

        return write

    def _as_now(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that there were not yet when it was saved had what is now their default."""
        return {**identity, "train": _deciding(type(self.config)(**identity["train"]))}

    def _identity(self) -> dict[str, Any]:
        """What the weights at the end depend on."""
        return {
            "train": _deciding(self.config),
            "data": self.loader.describe(),
            "model": self.model.config.model_dump(mode="json"),
            "tokenizer": self.tokenizer.hash,
        }


def _deciding(config: TrainConfig) -> dict[str, Any]:
    return {k: v for k, v in config.model_dump(mode="json").items() if k not in FREE_TO_CHANGE}


def _copied_state(state: TrainingState) -> TrainingState:
    return TrainingState(copied(state.tensors), state.values)


def _random_states(device: torch.device) -> dict[str, Tensor]:
    states = {"rng/cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["rng/cuda"] = torch.cuda.get_rng_state(device)
    return states


def _load_random_states(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(tensors["rng/cpu"].cpu())
    if "rng/cuda" in tensors and device.type == "cuda":
        torch.cuda.set_rng_state(tensors["rng/cuda"].cpu(), device)
