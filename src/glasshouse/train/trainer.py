"""The one loop: next batch, loss, backward, step, record, save, resume.

A step: the gradient of the batch, then one read of (loss, gradient norm) decides whether the step is taken.
Moments are counted in finished steps: what belongs to step S happens in the order hooks, metrics, checkpoint, so a
checkpoint at S holds everything up to S and a resumed run repeats nothing.
Many processes train as one (`parallel`): each takes its part of every batch; what is decided in a step (is it good, is
it time to save, did a signal come) is decided from one sum over all of them.  Only the main one records and speaks.
Units: nats, tokens, seconds.
"""

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from glasshouse.batch import Batch, Cursor, Loader
from glasshouse.core.environment import default_device, start_torch
from glasshouse.core.errors import CheckpointError, TrainingError
from glasshouse.core.files import read_json, write_json
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Task, Terminal, format_bytes
from glasshouse.meter import Cost, DeviceProfile, Meter
from glasshouse.model import Transformer, count_parameters, flops_per_token
from glasshouse.model.float8 import use_float8
from glasshouse.model.native import Kernels
from glasshouse.objective import LanguageModel, Objective
from glasshouse.optim import build_optimizer, describe_groups, factor
from glasshouse.parallel import Mesh, apply_plan, local, main_first, tell
from glasshouse.tokenizer import Tokenizer
from glasshouse.train.agreed import NOTHING_AGREED, Agreed
from glasshouse.train.checks import check_corpus, check_inputs, check_mesh, is_full_disk
from glasshouse.train.compiling import prepare
from glasshouse.train.config import TrainConfig
from glasshouse.train.filling import Fill
from glasshouse.train.gradient import GradientSums, add_gradient, computed_type, handing_on
from glasshouse.train.guard import LossGuard, Verdict
from glasshouse.train.interrupt import Interrupted, SignalWatch
from glasshouse.train.microbatch import describe_microbatch, fit_microbatch, promising_microbatch
from glasshouse.train.progress import Interval, TrainResult, TrainState, note
from glasshouse.train.reading import Reader
from glasshouse.train.recomputing import recompute
from glasshouse.train.records import rewind
from glasshouse.train.saving import Saved, Saver

Evaluate = Callable[[Transformer], Mapping[str, float]]
Sample = Callable[[Transformer], Sequence[tuple[str, str]]]  # (prompt, text) pairs

TICK_S = 1.0  # metrics and progress at most this often: a step of a small model takes 5 ms


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
        beside: nn.Module | None = None,
        mesh: Mesh | None = None,
        fill: Fill | None = None,
    ) -> None:
        """`beside`: a small module that `objective` uses and that is trained with the model; it is kept in the
        checkpoints to go on from, and saving it at the end is the caller's.

        mesh: the processes that train together, each with a Trainer of the same arguments; `model` is divided in place.
        fill: for a model without memory (`Transformer.blank`), which is given some once it is divided, then filled.
        """
        start_torch()
        self.model, self.tokenizer, self.loader, self.config = model, tokenizer, loader, config
        self.stage, self.run, self.folder, self.terminal, self.meter = stage, run, folder, terminal, meter
        self.device_profile, self.evaluate, self.sample = device_profile, evaluate, sample
        check_inputs(model.config, tokenizer, loader, config.seq_len)
        n_epoch_tokens = getattr(loader, "n_epoch_tokens", None)  # conversations are not counted in tokens of a stream
        if n_epoch_tokens is not None and config.max_epochs is not None:
            check_corpus(n_epoch_tokens, config.steps * config.batch_tokens, config.max_epochs)
        mesh = mesh or Mesh()
        check_mesh(mesh, model.config, loader, config, beside)
        self.device = default_device() if fill is not None else model.device
        self.team = apply_plan(model, mesh, computed_type(config.precision, self.device.type))
        if fill is not None:
            model.to_empty(device=self.device)
            fill(model, mesh)
        hand_on = self.team.hand_on
        self.objective = objective if hand_on is None else handing_on(hand_on)
        self.optimizer = build_optimizer(model, config.optim, beside)
        self.guard = LossGuard(config.guard)
        about = {"recipe": dict(recipe or {}), "provenance": dict(provenance or {}), "parent": parent}
        self.saver = Saver(
            folder, model, tokenizer, self.optimizer, self.guard, loader, config, about, beside, self.team
        )
        self.state = TrainState(step=0, cursor=loader.start())
        self._sample_steps = {round(share * config.steps): share for share in config.sample_at}
        if config.precision == "fp8":
            use_float8(model, mesh.sizes["tp"])
        if config.recompute:
            recompute(model, config.recompute, config.recompute_keeps)
        self._trained: LanguageModel = self.team.trained  # the compiled one, where that pays
        can_read_ahead = self.device.type == "cuda" and getattr(loader, "reads_ahead", False)
        self._reader = Reader(loader, self._place, reads_ahead=can_read_ahead)
        self._signals = SignalWatch()
        self._agreed = NOTHING_AGREED
        self._microbatch_tokens = None if config.microbatch_tokens == "auto" else config.microbatch_tokens
        self._interval = Interval()
        self._cost_before = Cost()
        self._wall_before_s = 0.0
        self._grad_norm = math.nan
        self._compiled = ""
        self._ticked_at = self._started_at = time.perf_counter()

    # ---- the run -------------------------------------------------------------------------------------------------

    def fit(self) -> TrainResult:
        """Train; a full disk, a signal or a diverged loss leaves the last good checkpoint and says how to go on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with self._signals:
                self._begin()
                with self.terminal.task(self.stage, self.config.steps) as task:
                    self._loop(task)
                return self._finish()
        except (OSError, CheckpointError) as error:
            if is_full_disk(error):
                raise self._out_of_room(error) from error
            raise
        except RuntimeError as error:
            if absent := self.team.absent_ranks():
                raise self._left_alone(absent, error) from error
            raise
        finally:
            self.saver.settle()

    def _begin(self) -> None:
        self._started_at = time.perf_counter()
        found = self.saver.newest()
        if found is None:
            self._rewind(None)
            for line in describe_groups(self.optimizer.groups):
                self.terminal.line(self.stage, line)
        else:
            saved = self.saver.load(found)
            self.state, self._cost_before, self._wall_before_s = saved.state, saved.cost, saved.wall_s
            self._rewind(self.state.step)
            self.terminal.line(self.stage, f"goes on from step {self.state.step:,} of {self.config.steps:,} ({found})")
        self._microbatch_tokens = self._fit_microbatch()
        n_parameters = count_parameters(self.model.config).total
        self.run.event(self.stage, "training", steps=self.config.steps, parameters=n_parameters)
        self._choose_compiled()
        if found is None:
            self._hooks()
        self.saver.start_clock()
        self._ticked_at = time.perf_counter()

    def _fit_microbatch(self) -> int | None:
        """As the recipe says, or found by trying; a run that goes on keeps what it found, for the same bits."""
        if self.config.microbatch_tokens != "auto":
            return self.config.microbatch_tokens
        record = self.folder / "microbatch.json"
        if tell(self.team.mesh, record.exists()):
            return int(read_json(record)["tokens"])
        batch, part, _ = self._reader.read(self.state.cursor)
        n_tokens, row_tokens = part.n_tokens, self.config.seq_len

        def attempt(tokens: int) -> None:
            self._microbatch_tokens = tokens
            try:
                self._gradient(self._trained, part, batch.count_targets())
                spare = [torch.empty_like(local(p)) for p in self.optimizer.parameters for _ in range(2)]
                del spare  # the room that the optimizer will want
            finally:
                self.optimizer.zero_grad()

        most = n_tokens
        if self.device.type == "cpu":
            most = promising_microbatch(self.model.config, n_tokens, row_tokens, **self.config.recomputed)
        own = fit_microbatch(attempt, most, row_tokens, can_retry=not self.team.is_divided)
        tokens = round(min(self.team.every(own)))
        if self.team.is_main:
            write_json(record, {"tokens": tokens})
        peak = torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None
        self.terminal.line(self.stage, describe_microbatch(tokens, n_tokens, peak))
        return tokens

    def _choose_compiled(self) -> None:
        if self.team.is_divided:
            self._compiled = f"eager: weights are divided ({self.team.mesh.describe()})"
            self.terminal.line(self.stage, self._compiled)
            return
        batch, part, _ = self._reader.read(self.state.cursor)
        n_targets = batch.count_targets()

        def probe(model: LanguageModel) -> None:
            self._gradient(model, part, n_targets)
            self.optimizer.zero_grad()

        with main_first(self.team.mesh):  # the others find its choice
            self._trained, choice = prepare(
                self._trained, probe, mode=self.config.compile, n_steps=self.config.steps,
                has_fixed_shape=self.loader.has_fixed_shape, folder=self.folder, kernels=self._kernels(),
                is_bf16=computed_type(self.config.precision, self.device.type) == torch.bfloat16,
            )  # fmt: skip
        self._compiled = str(choice)
        self.optimizer.set_kernels("auto" if choice.is_native else "torch")
        self.terminal.line(self.stage, self._compiled)

    def _kernels(self) -> Kernels:
        """Only whole layers in fp32 and bf16 are computed by C++."""
        is_special = self.config.precision == "fp8" or self.config.recompute > 0
        return "torch" if is_special else self.config.kernels

    def _loop(self, task: Task) -> None:
        while self.state.step < self.config.steps:
            self._step()
            is_last = self.state.step == self.config.steps
            self._hooks()
            if is_last or self._is_tick():
                self._tick(task)
            if self._agreed.signal is not None:
                self._stop(self._agreed.signal, task)
            if self._agreed.has_failed:
                self.saver.finish()  # raises
            if self.saver.is_due(self.state.step, self._agreed.is_time) and not is_last:
                self._tick(task)  # the sums since the last record are not part of a checkpoint
                self._save(is_beside=True)

    def _finish(self) -> TrainResult:
        if self.saver.saved_step != self.state.step:
            self._save()
        self.saver.finish()
        checkpoint = self.saver.save_finished(self._cost())
        result = self._result(checkpoint)
        if self.team.is_main:
            write_json(self.folder / "summary.json", {**result.to_json(), **self._about_model()})
        self.saver.prune(keep=1)
        return result

    def _save(self, *, is_beside: bool = False) -> None:
        self.saver.save(Saved(self.state, self._cost(), self._wall_s()), is_beside=is_beside)

    def _rewind(self, step: int | None, *, keeps_warnings: bool = False) -> None:
        if self.team.is_main:
            rewind(self.run, self.stage, step, keeps_warnings=keeps_warnings)

    # ---- one step ------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        started_at = time.perf_counter()
        state = self.state
        batch, part, next_cursor = self._reader.read(state.cursor)
        self.optimizer.set_factor(factor(state.step, self.config.steps, self.config.schedule))
        sums = self._gradient(self._trained, part, batch.count_targets())
        verdict, loss_sum, metrics = self._update(sums)
        cursor_before, state.cursor = state.cursor, next_cursor
        state.step += 1
        self._count_work(batch, self._agreed.n_head_tokens, time.perf_counter() - started_at)
        if verdict == "good":
            self._interval.add(loss_sum, sums.n_targets, batch.n_bytes, metrics)
        else:
            self._skip(verdict, loss_sum / sums.n_targets, cursor_before, batch, sums)

    def _place(self, batch: Batch) -> Batch:
        """This process's part of a batch, on its device."""
        part: Batch = self.team.part(batch)
        return part.to(self.device)

    def _gradient(self, model: LanguageModel, part: Batch, n_targets: int) -> GradientSums:
        """`n_targets` of the whole batch."""
        return add_gradient(
            model, part, self.objective, microbatch_tokens=self._microbatch_tokens, precision=self.config.precision,
            n_targets=n_targets, loss_scale=self.team.loss_scale, n_ahead=self.team.n_ahead,
        )  # fmt: skip

    def _update(self, sums: GradientSums) -> tuple[Verdict, float, dict[str, float]]:
        """Take the step where the guard finds it good; returns the verdict, the sum of losses and of each metric."""
        is_time = self.team.is_main and self.saver.is_time()
        own = Agreed(sums.n_head_tokens, is_time, self.saver.has_failed, self._signals.received)
        metrics = [value.float() for value in sums.metrics.values()]
        found, flags = self.team.agree(sums.loss, self.optimizer.parameters, metrics, own.to_flags())
        loss_sum, self._grad_norm, *values = found
        self._agreed = Agreed.from_flags(flags)
        verdict = self.guard.judge(loss_sum / sums.n_targets, self._grad_norm, sums.n_targets)
        if verdict == "good":
            if self.config.clip_norm is not None and self._grad_norm > self.config.clip_norm:
                grads = [local(p.grad) for p in self.optimizer.parameters if p.grad is not None]
                torch._foreach_mul_(grads, self.config.clip_norm / self._grad_norm)
            self.optimizer.step()
        self.optimizer.zero_grad()
        return verdict, loss_sum, dict(zip(sums.metrics, values))

    def _count_work(self, batch: Batch, n_head_tokens: int, busy_s: float) -> None:
        """Tokens without a target pass through the model but not through the head."""
        config = self.model.config
        head_flops = 6.0 * config.vocab_size * config.d_model
        flops = flops_per_token(config, batch.ids_BT.shape[1]) * batch.n_tokens
        flops -= head_flops * (batch.n_tokens - n_head_tokens)
        for total in (self._interval, self.state):
            total.n_tokens += batch.n_tokens
            total.flops += flops
            total.busy_s += busy_s
        self.meter.add_flops(flops)

    # ---- bad steps -----------------------------------------------------------------------------------------------

    def _skip(self, verdict: Verdict, loss: float, cursor: Cursor, batch: Batch, sums: GradientSums) -> None:
        """The step was not taken: keep the batch for inspection, say so, and go back when it keeps happening."""
        step = self.state.step
        path = self.folder / "bad_batches" / f"step-{step:08d}-batch-{cursor.epoch}-{cursor.index}.json"
        losses = self.team.every(float(sums.loss))
        if self.team.is_main:
            write_json(path, {
                "step": step, "verdict": verdict, "loss": repr(loss), "grad_norm": repr(self._grad_norm),
                "cursor": cursor.to_json(), "loss_sum_by_rank": [repr(own) for own in losses],
                "ids": batch.ids_BT.tolist(),
            })  # fmt: skip
        where = self.team.blame(losses, batch.n_rows)
        text = f"step {step}: loss {loss:.4g} is {_in_words(verdict)}{where}; step skipped, its batch is in {path}"
        self.run.event(self.stage, "warning", step=step, text=text)
        self.terminal.warn(self.stage, text)
        if self.guard.is_lost:
            self._roll_back()

    def _roll_back(self) -> None:
        """Back to the newest checkpoint, past the data since; work and time that were spent stay counted."""
        n_bad, n_skipped, state = self.guard.n_bad_in_a_row, self.guard.n_skipped, self.state
        what = f"{n_bad} bad steps in a row at step {state.step}"
        found = self.saver.newest()
        if found is None or state.n_rollbacks >= self.config.guard.max_rollbacks:
            raise self._diverged(what)
        loaded = self.saver.load(found).state
        self.state = replace(loaded, cursor=state.cursor, n_rollbacks=state.n_rollbacks + 1, busy_s=state.busy_s)
        self.guard.n_skipped, self.guard.n_bad_in_a_row = n_skipped, 0
        self._interval = Interval()
        self._rewind(self.state.step, keeps_warnings=True)
        text = f"{what}: back to step {self.state.step} ({found.name}); the data since then is not used again"
        self.run.event(self.stage, "warning", step=self.state.step, text=text)
        self.terminal.warn(self.stage, text)
        self._save()  # so that a run killed from here on skips the same data

    def _diverged(self, what: str) -> TrainingError:
        return TrainingError(
            f"training diverged: {what}, after going back {self.state.n_rollbacks} times. "
            f"{self.saver.newest_in_words()} The batches are in {self.folder / 'bad_batches'}. "
            f"Lower the learning rates or raise schedule.warmup_steps."
        )

    # ---- moments -------------------------------------------------------------------------------------------------

    def _hooks(self) -> None:
        """Evaluation and samples that belong to the number of steps finished.  They leave no trace in the weights."""
        step, config = self.state.step, self.config
        is_due = step == config.steps or (config.eval_every is not None and step % config.eval_every == 0)
        is_eval = is_due and self.evaluate is not None
        is_sample = step in self._sample_steps and self.sample is not None
        if not (is_eval or is_sample):
            return
        with torch.random.fork_rng(), torch.no_grad():  # not inference_mode: tables cached within it cannot train
            self.model.eval()
            if is_eval:
                self._judge(step)
            if is_sample:
                self._show_samples(step)
            self.model.train()

    def _judge(self, step: int) -> None:
        assert self.evaluate is not None
        self.state.evaluation = tell(self.team.mesh, dict(self.team.judge(self.evaluate)))
        self.run.metric(self.stage, step, self.state.evaluation)

    def _show_samples(self, step: int) -> None:
        assert self.sample is not None
        model: Transformer | None = self.team.whole_model()
        for prompt, text in [] if model is None else self.sample(model.eval()):
            share = self._sample_steps[step]
            self.run.event(self.stage, "sample", step=step, fraction=share, prompt=prompt, text=text)

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
        quality, speed = interval.quality(), interval.speed(self.device_profile.flops_per_s)
        state.loss = quality.get("loss", state.loss)
        state.bits_per_byte = quality.get("bits_per_byte", state.bits_per_byte)
        lr = self.optimizer.groups[0].lr * factor(state.step - 1, self.config.steps, self.config.schedule)
        norm = {"grad_norm": self._grad_norm} if math.isfinite(self._grad_norm) else {}
        self.run.metric(self.stage, state.step, {**quality, "lr": lr, **norm, **speed})
        self._interval = Interval()
        task.advance_to(state.step, note(state, speed, self._cost()))

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
        if self.saver.saved_step != self.state.step:
            self._save()
        self.saver.finish()
        self.run.event(self.stage, "interrupted", step=self.state.step, signal=signal_number)
        raise Interrupted(
            f"stopped at step {self.state.step:,} of {self.config.steps:,}; everything is saved in "
            f"{self.saver.checkpoints}. To go on: glass resume {self.run.path}",
            signal_number,
        )

    def _left_alone(self, absent: Mapping[int, str], error: Exception) -> TrainingError:
        who = "; ".join(f"rank {rank} ({where})" for rank, where in absent.items())
        return TrainingError(
            f"at step {self.state.step + 1:,} no answer came from {who}: it died, or hangs. "
            f"{self.saver.newest_in_words()} torchrun --max-restarts starts again from there by itself; otherwise: "
            f"glass resume {self.run.path}   ({str(error).splitlines()[0]})"
        )

    def _out_of_room(self, error: Exception) -> TrainingError:
        free = format_bytes(shutil.disk_usage(self.folder).free)
        step = self.state.step if self.saver.writes_step is None else self.saver.writes_step
        return TrainingError(
            f"the disk is full ({free} free at {self.folder}), at the checkpoint of step {step:,}: {error}\n"
            f"{self.saver.newest_in_words()} Make room, then: glass resume {self.run.path}"
        )


def _in_words(verdict: Verdict) -> str:
    return {"not finite": "not finite", "spike": "far above the recent ones", "good": "good"}[verdict]
