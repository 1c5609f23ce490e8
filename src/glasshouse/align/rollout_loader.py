"""The loader of online learning: an iteration's answers are made when it is entered, kept in a file, cut in batches.

    rollouts/iteration-00000012.safetensors     every tensor of a `RolloutBatch`; what is said of it, as metadata

`Cursor(epoch, index)`: the iteration, and the batch within it.  What an iteration samples depends on the weights at
that moment, the seed and its number.  The file holds a checksum of those weights: a run that was killed finds the
answers it had made and goes on to the bit, and a file made by other weights or settings is made again.
Units: nats a token, rewards.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from glasshouse.align.methods import Method, State, logps_of
from glasshouse.align.prompt_order import Turn
from glasshouse.align.rewards import Exchange, Reward, rewards_of
from glasshouse.align.rollout import LogpGap, PromptSet, RolloutConfig, Sampled, SampledFrom, logp_gap, sample
from glasshouse.batch import Cursor, RolloutBatch
from glasshouse.core.errors import CheckpointError
from glasshouse.core.files import atomic_open, sha256_text
from glasshouse.core.seeds import numpy_generator
from glasshouse.model import Transformer
from glasshouse.tokenizer import Tokenizer


@dataclass(frozen=True)
class IterationRecord:
    """What the report and the alarms read.  `kl` is to the reference, `entropy` the policy's, both nats a token,
    unbiased from the samples; `state` is the method's."""

    iteration: int
    reward_mean: float
    reward_deviation: float
    n_tokens: int  # of the answers
    share_finished: float  # ended by the model itself
    share_alike: float  # of the prompts whose answers were all rewarded alike: they teach nothing without a value head
    n_unknown_logps: int
    kl: float | None  # None where it was not measured in this iteration, as the gap
    entropy: float
    gap: LogpGap | None
    state: State

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "IterationRecord":
        return IterationRecord(**{**record, "gap": LogpGap(**record["gap"]) if record["gap"] else None})


@dataclass(frozen=True)
class _Iteration:
    record: IterationRecord
    batch: RolloutBatch
    turn: Turn  # of the iteration after it

    @staticmethod
    def of(about: Mapping[str, Any], batch: RolloutBatch) -> "_Iteration":
        return _Iteration(IterationRecord.from_json(about["record"]), batch, Turn.from_json(about["turn"]))


class RolloutLoader:
    """`tell` is called with the record of every iteration when it is entered, also when its file was there already."""

    has_fixed_shape = False

    def __init__(
        self, model: Transformer, tokenizer: Tokenizer, prompts: PromptSet, reward: Reward, method: Method,
        config: RolloutConfig, folder: Path, *, reference: Transformer, n_minibatches: int = 1, n_passes: int = 1,
        settings: Mapping[str, Any] | None = None, tell: Callable[[IterationRecord], None] = lambda record: None,
    ) -> None:  # fmt: skip
        self.model, self.tokenizer, self.prompts, self.reward, self.method = model, tokenizer, prompts, reward, method
        self.config, self.folder, self.reference, self.tell = config, folder, reference, tell
        self.n_minibatches, self.n_passes = n_minibatches, n_passes
        self._settings = dict(settings or {})
        self._identity = sha256_text(json.dumps(self.describe(), sort_keys=True))
        self._entered: _Iteration | None = None

    @property
    def tokenizer_hash(self) -> str:
        return self.tokenizer.hash

    @property
    def steps_per_iteration(self) -> int:
        return self.n_minibatches * self.n_passes

    def start(self) -> Cursor:
        return Cursor()

    def describe(self) -> dict[str, Any]:
        ids = json.dumps([self.prompts.ids, [p.question.answers if p.question else () for p in self.prompts.prompts]])
        return {
            "kind": "rollouts",
            "prompts": sha256_text(ids),
            "seed": self.prompts.seed,
            "reward": self.reward.name,
            "tokenizer": self.tokenizer_hash,
            "rollout": self.config.model_dump(),
            "n_minibatches": self.n_minibatches,
            "n_passes": self.n_passes,
            **self._settings,
        }

    def batch_at(self, cursor: Cursor) -> tuple[RolloutBatch, Cursor]:
        iteration = self._enter(cursor)
        after = Cursor(cursor.epoch, cursor.index + 1)
        if after.index == self.steps_per_iteration:
            after = Cursor(cursor.epoch + 1)
        return self.method.minibatch(iteration.batch, self._rows(cursor, iteration.batch.n_rows)), after

    def path(self, iteration: int) -> Path:
        return self.folder / f"iteration-{iteration:08d}.safetensors"

    # ---- which rows --------------------------------------------------------------------------------------------------

    def _rows(self, cursor: Cursor, n_rows: int) -> list[int]:
        number, part = divmod(cursor.index, self.n_minibatches)
        if self.n_minibatches == 1:
            return list(range(n_rows))
        order = numpy_generator(self.prompts.seed, "minibatches", cursor.epoch, number).permutation(n_rows).tolist()
        return order[n_rows * part // self.n_minibatches : n_rows * (part + 1) // self.n_minibatches]

    # ---- an iteration ------------------------------------------------------------------------------------------------

    def _enter(self, cursor: Cursor) -> _Iteration:
        entered = self._entered
        if entered is None or entered.record.iteration != cursor.epoch:
            before = entered if entered and entered.record.iteration == cursor.epoch - 1 else None
            self._entered = entered = self._load(cursor) or self._make(cursor, before)
            self.tell(entered.record)
        return entered

    def _load(self, cursor: Cursor) -> _Iteration | None:
        """The iteration's file, where it is this run's."""
        path = self.path(cursor.epoch)
        found = _read(path) if path.exists() else None
        if found is not None:
            about, batch = found
            # within an iteration the weights have moved on since it was sampled
            is_ours = about["identity"] == self._identity and (
                cursor.index > 0 or about["weights"] == weights_checksum(self.model)
            )
            if is_ours:
                return _Iteration.of(about, batch)
        if cursor.index > 0:
            raise CheckpointError(
                f"{path}: the answers that this iteration learns from are {'of other settings' if found else 'gone'}, "
                f"so step {cursor.index} of it cannot be repeated exactly. Put the file back, or start the stage anew."
            )
        return None

    def _make(self, cursor: Cursor, before: _Iteration | None) -> _Iteration:
        before = before or self._before(cursor.epoch)
        checksum = weights_checksum(self.model)
        turn = before.turn if before else self.prompts.order.at(cursor.epoch * self.config.n_prompts)
        asked, turn = self.prompts.order.take(turn, self.config.n_prompts, self.config.skip_settled)
        sampled = sample(self.model, self.tokenizer, self.prompts, asked, self.config, cursor.epoch)
        gap = self._gap(sampled) if self._is_checked(cursor.epoch) else None
        reward_B = torch.tensor(self._rewards(sampled))
        turn = turn.after(asked, reward_B.view(-1, self.config.n_answers))
        batch = RolloutBatch(
            sampled.rows, sampled.logp_BT, torch.zeros_like(sampled.logp_BT), reward_B, torch.ones_like(reward_B)
        )
        batch, state = self.method.prepare(self.model, batch, before.record.state if before else None)
        record = self._record(cursor.epoch, sampled, batch, gap, state)
        about = {
            "identity": self._identity, "weights": checksum, "record": asdict(record), "turn": turn.to_json(),
        }  # fmt: skip
        # where nothing but the weights decides, a file that a power cut took can be made again
        is_durable = self.steps_per_iteration > 1 or bool(state) or self.config.skip_settled > 0
        _write(self.path(cursor.epoch), about, batch, is_durable)
        return _Iteration(record, batch, turn)

    def _before(self, iteration: int) -> _Iteration | None:
        """The iteration before, from its file; where that is gone, None if nothing but the weights decides."""
        path = self.path(iteration - 1)
        found = _read(path) if iteration > 0 and path.exists() else None
        if found is not None and found[0]["identity"] == self._identity:
            return _Iteration.of(*found)
        if iteration > 0 and self.config.skip_settled:
            raise CheckpointError(
                f"{path}: what says who is settled is {'of other settings' if found else 'gone'}, so iteration "
                f"{iteration} cannot ask what it would have asked. Put the file back, or start the stage anew."
            )
        return None

    def _gap(self, sampled: Sampled) -> LogpGap:
        seen = SampledFrom(self.model, self.tokenizer.vocab_size)
        return logp_gap(seen, sampled.rows.to(self.model.device), sampled.logp_BT, self.config)

    def _rewards(self, sampled: Sampled) -> list[float]:
        exchanges = [
            Exchange(self.prompts.prompts[n].messages, c.text, self.prompts.prompts[n].question, c.finish_reason)
            for n, c in zip(sampled.prompt_B, sampled.completions)
        ]
        return rewards_of(self.reward, exchanges)

    def _record(
        self, iteration: int, sampled: Sampled, batch: RolloutBatch, gap: LogpGap | None, state: State
    ) -> IterationRecord:
        known_BT = batch.mask_BT & batch.sampled_logp_BT.isfinite()
        n_tokens = batch.count_targets()
        reward_PG = batch.reward_B.view(-1, self.config.n_answers)
        return IterationRecord(
            iteration=iteration,
            reward_mean=float(batch.reward_B.mean()),
            reward_deviation=float(batch.reward_B.std(correction=0)),
            n_tokens=n_tokens,
            share_finished=sum(c.finish_reason == "stop" for c in sampled.completions) / batch.n_rows,
            share_alike=float((reward_PG == reward_PG[:, :1]).all(dim=1).float().mean()),
            n_unknown_logps=n_tokens - int(known_BT.sum()),
            kl=self._kl(iteration, batch, known_BT),
            entropy=float(-batch.sampled_logp_BT[known_BT].mean()) if known_BT.any() else 0.0,
            gap=gap,
            state=state,
        )

    def _is_checked(self, iteration: int) -> bool:
        return iteration % self.config.check_every == 0

    def _kl(self, iteration: int, batch: RolloutBatch, known_BT: Tensor) -> float | None:
        """From all answers where the method knows the reference's view of them, else from those that are checked."""
        reference_BT = batch.reference_logp_BT
        if reference_BT is None:
            if not self._is_checked(iteration):
                return None
            rows = batch.rows.rows(0, self.config.n_checked)
            reference_BT = logps_of(self.reference, rows, self.tokenizer.vocab_size, self.config.temperature)
        known_BT = known_BT[: len(reference_BT)]
        difference = (batch.sampled_logp_BT[: len(reference_BT)] - reference_BT)[known_BT]
        return float(difference.mean()) if difference.numel() else 0.0


def weights_checksum(model: Transformer) -> int:
    """Of every weight's bits.  1 GB/s or more: small beside sampling."""
    checksum = 0
    for parameter in model.parameters():
        plain = parameter.detach().cpu().contiguous().view(torch.uint8)
        checksum = zlib.crc32(plain.numpy().data, checksum)
    return checksum


def _write(path: Path, about: Mapping[str, Any], batch: RolloutBatch, is_durable: bool) -> None:
    tensors = {name: tensor.cpu().contiguous() for name, tensor in batch.tensors().items()}
    with atomic_open(path, "wb", is_durable=is_durable) as file:
        file.write(to_bytes(tensors, metadata={"about": json.dumps(about)}))


def _read(path: Path) -> tuple[dict[str, Any], RolloutBatch] | None:
    """None where the file is damaged: it can be made again."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            return about, RolloutBatch.of_tensors({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None


def read_record(path: Path) -> IterationRecord | None:
    """What is said of an iteration, for the report."""
    found = _read(path)
    return None if found is None else IterationRecord.from_json(found[0]["record"])


__all__ = ["IterationRecord", "RolloutLoader", "read_record", "weights_checksum"]
