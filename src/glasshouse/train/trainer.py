"""The one loop: next batch, loss, backward, step, record, save, resume.

A step: the batch's microsteps accumulate gradients of (sum of losses / target tokens of the whole batch), so that any
cut of a batch gives the gradient of the whole; one read of (loss, gradient norm) decides whether the step is taken.
Moments are counted in finished steps: what belongs to step S happens in the order hooks, metrics, checkpoint, so a
checkpoint at S holds everything up to S and a resumed run repeats nothing.
Units: nats, tokens, seconds.  Left out: more than one process (`parallel` comes later).
"""

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from glasshouse.batch import Cursor, LMBatch, Loader
from glasshouse.checkpoint import TrainingState, latest_checkpoint, load_model, load_training_state, save_checkpoint
from glasshouse.core.config import Config
from glasshouse.core.environment import start_torch
from glasshouse.core.errors import CheckpointError, TrainingError
from glasshouse.core.files import write_json
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Task, Terminal, format_bytes
from glasshouse.meter import Cost, DeviceProfile, Meter
from glasshouse.model import Transformer, count_parameters, flops_per_token
from glasshouse.objective import LanguageModel, Objective
from glasshouse.optim import OptimConfig, ScheduleConfig, build_optimizer, describe_groups, factor
from glasshouse.tokenizer import Tokenizer
from glasshouse.train.checks import check_corpus, check_identity, check_inputs, is_full_disk
from glasshouse.train.compiling import CompileMode, prepare
from glasshouse.train.guard import GuardConfig, LossGuard, Verdict
from glasshouse.train.interrupt import Interrupted, SignalWatch
from glasshouse.train.records import rewind

Evaluate = Callable[[Transformer], Mapping[str, float]]
Sample = Callable[[Transformer], Sequence[tuple[str, str]]]  # (prompt, text) pairs

TICK_S = 1.0  # metrics and progress at most this often: a step of a small model takes 5 ms
CHECKPOINT_SHARE = 20  # a checkpoint is made no sooner than 20 times as long as the last one took


class TrainConfig(Config):
    steps: int = Field(gt=0)
    seq_len: int = Field(gt=0)
    batch_tokens: int = Field(gt=0)
    microbatch_tokens: int | None = Field(default=None, gt=0)  # None: the whole batch at once
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    clip_norm: float | None = Field(default=1.0, gt=0)
    guard: GuardConfig = GuardConfig()
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 on CUDA, fp32 on CPU (bf16 is slower there)
    compile: CompileMode = "auto"
    eval_every: int | None = Field(default=None, gt=0)  # steps; the end is always evaluated
    sample_at: tuple[float, ...] = (0.0, 0.05, 0.2, 0.5, 1.0)  # shares of the run
    checkpoint_every_s: float | None = Field(default=60.0, ge=0)
    checkpoint_every: int | None = Field(default=None, gt=0)  # steps, beside the time
    metric_every: int | None = Field(default=None, gt=0)  # steps; None: about once a second
    max_epochs: float | None = Field(default=100.0, gt=0)  # repeating text more than 40 times adds nothing
    seed: int = 0  # of the weights and the order of the data, which the caller builds; recorded here


# What may differ between a checkpoint and the recipe that resumes it: it does not change the weights.
FREE_TO_CHANGE = {"eval_every", "sample_at", "checkpoint_every_s", "checkpoint_every", "metric_every", "max_epochs"}


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
class _Interval:
    """Sums since the last metrics record."""

    loss_sum: float = 0.0
    n_targets: int = 0
    n_bytes: int = 0
    n_tokens: int = 0
    flops: float = 0.0
    busy_s: float = 0.0


class Trainer:
    """`fit()` trains to the end, or goes on exactly where checkpoints in `folder` left off."""

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        loader: Loader,
        objective: Objective,
        config: TrainConfig,
        *,
        stage: str,
        run: RunDirectory,
        folder: Path,
        terminal: Terminal,
        meter: Meter,
        device_profile: DeviceProfile,
        evaluate: Evaluate | None = None,
        sample: Sample | None = None,
        provenance: Mapping[str, Any] | None = None,
        recipe: Mapping[str, Any] | None = None,
        parent: str | None = None,
    ) -> None:
        start_torch()
        self.model, self.tokenizer, self.loader, self.objective, self.config = (
            model, tokenizer, loader, objective, config,
        )  # fmt: skip
        self.stage, self.run, self.folder, self.terminal, self.meter = stage, run, folder, terminal, meter
        self.device_profile, self.evaluate, self.sample = device_profile, evaluate, sample
        self.provenance, self.recipe, self.parent = dict(provenance or {}), dict(recipe or {}), parent
        check_inputs(model.config, tokenizer, loader, config.seq_len)
        n_epoch_tokens = getattr(loader, "n_epoch_tokens", None)  # conversations are not counted in tokens of a stream
        if n_epoch_tokens is not None and config.max_epochs is not None:
            check_corpus(n_epoch_tokens, config.steps * config.batch_tokens, config.max_epochs)
        self.device = model.device
        self.optimizer = build_optimizer(model, config.optim)
        self.guard = LossGuard(config.guard)
        self.state = TrainState(step=0, cursor=loader.start())
        self._sample_steps = {round(share * config.steps): share for share in config.sample_at}
        self._trained: LanguageModel = model  # the compiled one, where that pays
        self._interval = _Interval()
        self._cost_before = Cost()
        self._wall_before_s = 0.0
        self._head_flops = 6.0 * model.config.vocab_size * model.config.d_model
        self._saved_step: int | None = None
        self._grad_norm = math.nan
        self._compiled = ""
        self._save_s = 0.0
        self._saved_at = self._ticked_at = self._started_at = time.perf_counter()

    # ---- the run -------------------------------------------------------------------------------------------------

    def fit(self) -> TrainResult:
        """Train; a full disk, a signal or a diverged loss leaves the last good checkpoint and says how to go on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with SignalWatch() as signals:
                self._begin()
                with self.terminal.task(self.stage, self.config.steps) as task:
                    self._loop(signals, task)
                return self._finish()
        except (OSError, CheckpointError) as error:
            if is_full_disk(error):
                raise self._out_of_room(error) from error
            raise

    def _begin(self) -> None:
        self._started_at = time.perf_counter()
        found = latest_checkpoint(self.checkpoints) if self.checkpoints.is_dir() else None
        if found is None:
            rewind(self.run, self.stage, None)
            for line in describe_groups(self.optimizer.groups):
                self.terminal.line(self.stage, line)
        else:
            self._load(found)
            rewind(self.run, self.stage, self.state.step)
            self.terminal.line(self.stage, f"goes on from step {self.state.step:,} of {self.config.steps:,} ({found})")
        self._choose_compiled()
        if found is None:
            self._hooks()
        self._saved_at = self._ticked_at = time.perf_counter()

    def _loop(self, signals: SignalWatch, task: Task) -> None:
        while self.state.step < self.config.steps:
            if signals.received is not None:
                self._stop(signals.received, task)
            self._step()
            is_last = self.state.step == self.config.steps
            self._hooks()
            if is_last or self._is_tick():
                self._tick(task)
            if self._is_checkpoint_due() and not is_last:
                self._tick(task)  # the sums since the last record are not part of a checkpoint
                self._save()
        if signals.received is not None:
            self._stop(signals.received, task)

    def _finish(self) -> TrainResult:
        if self._saved_step != self.state.step:
            self._save()
        checkpoint = self._save_to(self.folder / "checkpoint", training_state=None)
        result = self._result(checkpoint)
        write_json(self.folder / "summary.json", {**result.to_json(), **self._about_model()})
        self._prune(keep=1)
        return result

    # ---- one step ------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        started_at = time.perf_counter()
        state = self.state
        batch, next_cursor = self.loader.batch_at(state.cursor)
        batch = batch.to(self.device)
        self.optimizer.set_factor(factor(state.step, self.config.steps, self.config.schedule))
        loss_sum, n_targets = self._backward(self._trained, batch)
        grads = [p.grad for p in self.optimizer.parameters if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        total, grad_norm = torch.stack((loss_sum, norm)).tolist()  # the one read from the device
        loss = total / n_targets
        verdict = self.guard.judge(loss, grad_norm)
        if verdict == "good":
            if self.config.clip_norm is not None and grad_norm > self.config.clip_norm:
                torch._foreach_mul_(grads, self.config.clip_norm / grad_norm)
            self.optimizer.step()
        self.optimizer.zero_grad()
        flops = self._flops(batch.ids_BT.shape[1]) * batch.n_tokens - self._head_flops * (batch.n_tokens - n_targets)
        cursor_before, state.cursor = state.cursor, next_cursor
        state.step += 1
        self._grad_norm = grad_norm
        busy_s = time.perf_counter() - started_at
        self._count_work(batch.n_tokens, flops, busy_s)
        if verdict == "good":
            self._interval.loss_sum += total
            self._interval.n_targets += n_targets
            self._interval.n_bytes += batch.n_bytes
        else:
            self._skip(verdict, loss, grad_norm, cursor_before, batch)

    def _backward(self, model: LanguageModel, batch: LMBatch) -> tuple[Tensor, int]:
        """Gradients of the mean loss over the batch's target tokens; returns (sum of losses, target tokens)."""
        n_targets = batch.count_targets()
        loss_sum: Tensor | None = None
        for microbatch in batch.microbatches(self.config.microbatch_tokens):
            with self._precision():
                output = self.objective(model, microbatch)
            (output.loss_sum / n_targets).backward()  # type: ignore[no-untyped-call]
            part = output.loss_sum.detach()
            loss_sum = part if loss_sum is None else loss_sum + part
        assert loss_sum is not None  # a batch has rows
        return loss_sum.float(), n_targets

    def _precision(self) -> AbstractContextManager[Any]:
        wanted = self.config.precision
        is_bf16 = wanted == "bf16" or (wanted == "auto" and self.device.type == "cuda")
        return torch.autocast(self.device.type, torch.bfloat16) if is_bf16 else nullcontext()

    def _count_work(self, n_tokens: int, flops: float, busy_s: float) -> None:
        for total in (self._interval, self.state):
            total.n_tokens += n_tokens
            total.flops += flops
            total.busy_s += busy_s
        self.meter.add_flops(flops)

    def _flops(self, length: int) -> float:
        return flops_per_token(self.model.config, length)

    # ---- bad steps -----------------------------------------------------------------------------------------------

    def _skip(self, verdict: Verdict, loss: float, grad_norm: float, cursor: Cursor, batch: LMBatch) -> None:
        """The step was not taken: keep the batch for inspection, say so, and go back when it keeps happening."""
        step = self.state.step
        path = self.folder / "bad_batches" / f"step-{step:08d}-batch-{cursor.epoch}-{cursor.index}.json"
        write_json(path, {
            "step": step, "verdict": verdict, "loss": repr(loss), "grad_norm": repr(grad_norm),
            "cursor": cursor.to_json(), "ids": batch.ids_BT.tolist(),
        })  # fmt: skip
        text = f"step {step}: loss {loss:.4g} is {_in_words(verdict)}; step skipped, its batch is in {path}"
        self.run.event(self.stage, "warning", step=step, text=text)
        self.terminal.warn(self.stage, text)
        if self.guard.is_lost:
            self._roll_back()

    def _roll_back(self) -> None:
        n_bad, n_skipped, state = self.guard.n_bad_in_a_row, self.guard.n_skipped, self.state
        found = latest_checkpoint(self.checkpoints) if self.checkpoints.is_dir() else None
        what = f"{n_bad} bad steps in a row at step {state.step}"
        if found is None or state.n_rollbacks >= self.config.guard.max_rollbacks:
            kept = f"The last good checkpoint is {found}." if found else "No checkpoint had been made yet."
            raise TrainingError(
                f"training diverged: {what}, after going back {state.n_rollbacks} times. {kept} The batches are in "
                f"{self.folder / 'bad_batches'}. Lower the learning rates or raise schedule.warmup_steps."
            )
        cursor, n_rollbacks, busy_s = state.cursor, state.n_rollbacks + 1, state.busy_s
        cost_before, wall_before_s = self._cost_before, self._wall_before_s
        self._load(found)
        self._cost_before, self._wall_before_s = cost_before, wall_before_s  # this process's meter ran on
        self.state = replace(self.state, cursor=cursor, n_rollbacks=n_rollbacks, busy_s=busy_s)
        self.guard.n_skipped, self.guard.n_bad_in_a_row = n_skipped, 0
        rewind(self.run, self.stage, self.state.step, keeps_warnings=True)
        text = f"{what}: back to step {self.state.step} ({found.name}); the data since then is not used again"
        self.run.event(self.stage, "warning", step=self.state.step, text=text)
        self.terminal.warn(self.stage, text)
        self._save()  # so that a run killed from here on skips the same data

    # ---- moments -------------------------------------------------------------------------------------------------

    def _hooks(self) -> None:
        """Evaluation and samples that belong to the number of steps finished.  They leave no trace in the weights."""
        step, config = self.state.step, self.config
        is_eval = step == config.steps or (config.eval_every is not None and step % config.eval_every == 0)
        is_sample = self.sample is not None and step in self._sample_steps
        if not (is_sample or (is_eval and self.evaluate is not None)):
            return
        with torch.random.fork_rng(), torch.no_grad():  # not inference_mode: tables cached within it cannot train
            self.model.eval()
            if is_eval and self.evaluate is not None:
                self.state.evaluation = dict(self.evaluate(self.model))
                self.run.metric(self.stage, step, self.state.evaluation)
            if is_sample and self.sample is not None:
                for prompt, text in self.sample(self.model):
                    share = self._sample_steps[step]
                    self.run.event(self.stage, "sample", step=step, fraction=share, prompt=prompt, text=text)
            self.model.train()

    def _is_tick(self) -> bool:
        every = self.config.metric_every
        if every is not None:
            return self.state.step % every == 0
        return time.perf_counter() - self._ticked_at >= TICK_S

    def _tick(self, task: Task) -> None:
        interval, state = self._interval, self.state
        self._ticked_at = time.perf_counter()
        if not interval.n_tokens:
            return
        metrics: dict[str, float] = {}
        if interval.n_targets:
            state.loss = metrics["loss"] = interval.loss_sum / interval.n_targets
        if interval.n_bytes:
            state.bits_per_byte = metrics["bits_per_byte"] = interval.loss_sum / math.log(2) / interval.n_bytes
        metrics["lr"] = self.optimizer.groups[0].lr * factor(state.step - 1, self.config.steps, self.config.schedule)
        if math.isfinite(self._grad_norm):
            metrics["grad_norm"] = self._grad_norm
        metrics["tokens_per_s"] = interval.n_tokens / interval.busy_s
        metrics["share_of_peak"] = interval.flops / interval.busy_s / self.device_profile.flops_per_s
        self.run.metric(self.stage, state.step, metrics)
        self._interval = _Interval()
        task.advance_to(state.step, self._note(metrics))

    def _note(self, metrics: Mapping[str, float]) -> str:
        quality = "" if self.state.loss is None else f"loss {self.state.loss:.3f}"
        if self.state.bits_per_byte is not None:
            quality += f" · {self.state.bits_per_byte:.3f} bits/byte"
        cost = self._cost()
        joules = f"{cost.joules:,.0f} J{' (est.)' if cost.is_estimated else ''}"
        speed = f"{metrics['tokens_per_s']:,.0f} tok/s · {100 * metrics['share_of_peak']:.0f} % of peak"
        return f"{quality} · {speed} · {joules}"

    # ---- saving and loading --------------------------------------------------------------------------------------

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def _is_checkpoint_due(self) -> bool:
        config = self.config
        if self.guard.n_bad_in_a_row:
            return False  # these weights may be what is wrong; nothing to go back to
        if config.checkpoint_every is not None and self.state.step % config.checkpoint_every == 0:
            return True
        if config.checkpoint_every_s is None:
            return False
        return time.perf_counter() - self._saved_at >= max(config.checkpoint_every_s, CHECKPOINT_SHARE * self._save_s)

    def _save(self) -> None:
        started_at = time.perf_counter()
        tensors, values = self.optimizer.state()
        tensors["rng/cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["rng/cuda"] = torch.cuda.get_rng_state(self.device)
        values = {
            **values,
            "state": self.state.to_json(),
            "guard": self.guard.state(),
            "identity": self._identity(),
            "cost": self._cost().to_json(),
            "wall_s": self._wall_s(),
        }
        path = self.checkpoints / f"step-{self.state.step:08d}"
        self._save_to(path, TrainingState(tensors, values))
        self._prune(keep=2)
        self._saved_at = time.perf_counter()
        self._saved_step = self.state.step
        self._save_s = self._saved_at - started_at

    def _save_to(self, path: Path, training_state: TrainingState | None) -> Path:
        def save() -> Path:
            return save_checkpoint(
                path, self.model, self.tokenizer, recipe=self.recipe, cost=self._cost(), provenance=self.provenance,
                training_state=training_state, parent=self.parent,
            )  # fmt: skip

        try:
            return save()
        except CheckpointError as error:
            if not is_full_disk(error) or self._prune(keep=1) == 0:
                raise
            return save()  # the older of two checkpoints made room

    def _prune(self, keep: int) -> int:
        """Remove all but the newest `keep` step checkpoints; returns how many went."""
        old = sorted(self.checkpoints.glob("step-*"))[:-keep]
        for path in old:
            shutil.rmtree(path, ignore_errors=True)
        return len(old)

    def _load(self, path: Path) -> None:
        loaded, _ = load_model(path, self.device)
        self.model.load_state_dict(loaded.state_dict())
        saved = load_training_state(path)
        check_identity(saved.values["identity"], self._identity(), path)
        self.optimizer.load_state(saved.tensors, saved.values)
        torch.set_rng_state(saved.tensors["rng/cpu"].cpu())
        if "rng/cuda" in saved.tensors and self.device.type == "cuda":
            torch.cuda.set_rng_state(saved.tensors["rng/cuda"].cpu(), self.device)
        self.guard.load_state(saved.values["guard"])
        self.state = TrainState.from_json(saved.values["state"])
        self._interval = _Interval()
        self._saved_step = self.state.step
        self._wall_before_s = float(saved.values["wall_s"])
        self._cost_before = Cost.from_json(saved.values["cost"])

    def _identity(self) -> dict[str, Any]:
        """What the weights at the end depend on."""
        train = {k: v for k, v in self.config.model_dump(mode="json").items() if k not in FREE_TO_CHANGE}
        return {
            "train": train,
            "data": self.loader.describe(),
            "model": self.model.config.model_dump(mode="json"),
            "tokenizer": self.tokenizer.hash,
        }

    # ---- figures -------------------------------------------------------------------------------------------------

    def _cost(self) -> Cost:
        return self._cost_before + self.meter.cost_so_far()

    def _wall_s(self) -> float:
        return self._wall_before_s + time.perf_counter() - self._started_at

    def _result(self, checkpoint: Path) -> TrainResult:
        state = self.state
        busy_s = max(state.busy_s, 1e-9)
        return TrainResult(
            steps=state.step, n_tokens=state.n_tokens, loss=state.loss, bits_per_byte=state.bits_per_byte,
            seconds=self._wall_s(), tokens_per_s=state.n_tokens / busy_s,
            share_of_peak=state.flops / busy_s / self.device_profile.flops_per_s, cost=self._cost(),
            checkpoint=checkpoint, n_skipped=self.guard.n_skipped, evaluation=state.evaluation,
            compiled=self._compiled,
        )  # fmt: skip

    def _about_model(self) -> dict[str, Any]:
        return {
            "model": self.model.config.model_dump(mode="json"),
            "parameters": asdict(count_parameters(self.model.config)),
            "groups": [group.to_json() for group in self.optimizer.groups],
        }

    # ---- leaving -------------------------------------------------------------------------------------------------

    def _stop(self, signal_number: int, task: Task) -> None:
        self._tick(task)
        if self._saved_step != self.state.step:
            self._save()
        self.run.event(self.stage, "interrupted", step=self.state.step, signal=signal_number)
        raise Interrupted(
            f"stopped at step {self.state.step:,} of {self.config.steps:,}; everything is saved in {self.checkpoints}. "
            f"To go on: glass resume {self.run.path}",
            signal_number,
        )

    def _out_of_room(self, error: Exception) -> TrainingError:
        free = format_bytes(shutil.disk_usage(self.folder).free)
        found = latest_checkpoint(self.checkpoints) if self.checkpoints.is_dir() else None
        kept = f"The last good checkpoint is {found}." if found else "No checkpoint had been made yet."
        return TrainingError(
            f"the disk is full ({free} free at {self.folder}), at step {self.state.step:,}: {error}\n{kept} "
            f"Make room, then: glass resume {self.run.path}"
        )

    def _choose_compiled(self) -> None:
        batch = self.loader.batch_at(self.state.cursor)[0].to(self.device)

        def probe(model: LanguageModel) -> None:
            self._backward(model, batch)
            self.optimizer.zero_grad()

        self._trained, choice = prepare(
            self.model, probe, mode=self.config.compile, n_steps=self.config.steps,
            has_fixed_shape=self.loader.has_fixed_shape, folder=self.folder,
        )  # fmt: skip
        how = "compiled" if choice.is_compiled else "eager"
        self._compiled = f"{how}: {choice.reason}"
        self.terminal.line(self.stage, self._compiled)


def _in_words(verdict: Verdict) -> str:
    return {"not finite": "not finite", "spike": "far above the recent ones", "good": "good"}[verdict]
