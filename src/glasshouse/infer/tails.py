"""How likely the ends of many texts are, each given what stands before it: what their beginnings share is read once.

The texts are sorted, so that those that begin alike stand together, and a text starts where it leaves the one before
it: a question with four answers is read once and not four times, examples before every question once in all.  Shared
are blocks of the engine's memory; a block that is shared in part is copied.  A text that needs a copy comes in a later
wave than the one it is copied from, and the texts of a wave are read together, in steps without padding.  The head
meets scored positions only.

Shapes: T tokens of a step, R scored positions of it, U texts, V vocab.  Log-probabilities in nats, over the model's
whole vocabulary.
"""

from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.infer.blocks import BlockPool
from glasshouse.infer.runner import Runner, StepBatch

N_LOGITS = 4_000_000  # that exist at once on CPU: 16 MB; on a GPU sixteen times as many
N_STEPS = 4  # texts are collected for so many steps before any is read, so that waves fill theirs


@dataclass(frozen=True, slots=True)
class Tail:
    """`ids` are read, and the last `n_scored` of them are scored; the first id never is."""

    ids: tuple[int, ...]
    n_scored: int


@dataclass(frozen=True, slots=True)
class TailScore:
    """`logp_sum` of the scored ids; `is_greedy`: each of them is the likeliest at its place."""

    logp_sum: float
    is_greedy: bool


class _Row:
    """One text being read: from `start` on, after blocks that belong to the text it branches off."""

    __slots__ = ("copies", "first_read", "number", "own", "start", "table", "tail", "wave")

    def __init__(self, number: int, tail: Tail, start: int, parent: "_Row | None", own: list[int], size: int) -> None:
        self.number, self.tail, self.start, self.own = number, tail, start, own
        n_shared, is_inside = divmod(start, size)
        self.table: list[int] = [*(parent.table[:n_shared] if parent else ()), *own]
        self.copies = (parent.table[n_shared], own[0]) if parent and is_inside else None
        self.wave: int = max(0, parent.wave + bool(is_inside)) if parent else 0
        self.first_read = len(tail.ids) - tail.n_scored - 1  # the first position whose logits are wanted

    @property
    def n_fed(self) -> int:
        """The last id is only scored."""
        return len(self.tail.ids) - 1


class TailReader:
    """Scores tails with the memory that an engine has to spare."""

    def __init__(self, runner: Runner, pool: BlockPool, *, vocab_size: int, is_on_cpu: bool) -> None:
        self._runner, self._pool, self._size = runner, pool, runner.block_size
        self._step_tokens = max(64, min(512 if is_on_cpu else 8192, N_LOGITS * (1 if is_on_cpu else 16) // vocab_size))
        self._alive: list[_Row] = []
        self._path: list[_Row] = []  # the texts that the last one branches off, and itself

    @torch.inference_mode()
    def scores(self, tails: SequenceOf[Tail]) -> list[TailScore]:
        """One score a tail, in the order given."""
        self._logp_U, self._is_greedy_U = np.zeros(len(tails)), np.ones(len(tails), np.bool_)
        batch: list[_Row] = []
        n_tokens = 0
        before: tuple[int, ...] = ()
        try:
            for number in sorted(range(len(tails)), key=lambda i: tails[i].ids):
                row = self._place(number, tails[number], before)
                if row is None:
                    self._read(batch)
                    batch, n_tokens = [], 0
                    row = self._place(number, tails[number], before) or self._place_alone(number, tails[number])
                batch.append(row)
                before = row.tail.ids
                n_tokens += row.n_fed - row.start
                if n_tokens >= N_STEPS * self._step_tokens:
                    self._read(batch)
                    batch, n_tokens = [], 0
            self._read(batch)
        finally:
            self._path = []
            self._release()
        return [TailScore(float(logp), bool(greedy)) for logp, greedy in zip(self._logp_U, self._is_greedy_U)]

    def _place(self, number: int, tail: Tail, before: tuple[int, ...]) -> _Row | None:
        """Blocks for a tail, after those it shares with the one before; None where there is no room."""
        limit = min(len(tail.ids) - tail.n_scored - 1, len(before) - 1)
        start = _n_equal(tail.ids, before, limit) if self._path else 0
        path = [row for row in self._path if row.start < start]
        n_own = -(-(len(tail.ids) - 1) // self._size) - start // self._size
        if n_own > self._pool.n_free:
            return None
        row = _Row(
            number, tail, start, path[-1] if path else None, [self._pool.take() for _ in range(n_own)], self._size
        )
        self._path = [*path, row]
        self._alive.append(row)
        return row

    def _place_alone(self, number: int, tail: Tail) -> _Row:
        self._path = []
        self._release()
        row = self._place(number, tail, ())
        if row is None:
            raise ConfigError(
                f"a text of {len(tail.ids)} tokens needs more than the {self._pool.n_free * self._size} places that "
                "the memory budget allows. Raise the budget (memory_bytes)."
            )
        return row

    def _read(self, batch: SequenceOf[_Row]) -> None:
        waves: dict[int, list[_Row]] = {}
        for row in batch:
            waves.setdefault(row.wave, []).append(row)
        for _, rows in sorted(waves.items()):
            for row in rows:
                if row.copies:
                    self._runner.copy_block(*row.copies)
            for pieces in _steps(rows, self._step_tokens):
                self._step(pieces)
        for row in batch:
            row.wave = -1  # done
        self._release()

    def _step(self, pieces: SequenceOf[tuple[_Row, int, int]]) -> None:
        batch, targets_R, owner_R = _batch(pieces)
        logits_RV = self._runner.run(batch)
        if not len(targets_R):
            return
        target_R = torch.from_numpy(targets_R).to(logits_RV.device)
        logp_R, is_greedy_R = _judged(logits_RV, target_R)
        np.add.at(self._logp_U, owner_R, logp_R)
        np.logical_and.at(self._is_greedy_U, owner_R, is_greedy_R)

    def _release(self) -> None:
        for row in self._alive:
            if row not in self._path:
                self._pool.release(row.own)
        self._alive = list(self._path)


def _judged(logits_RV: Tensor, target_R: Tensor) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    logit_R = logits_RV.gather(1, target_R[:, None]).squeeze(1)
    logp_R = logit_R - logits_RV.logsumexp(dim=1)
    return logp_R.double().cpu().numpy(), (logits_RV.argmax(dim=1) == target_R).cpu().numpy()


def _n_equal(a: tuple[int, ...], b: tuple[int, ...], limit: int) -> int:
    """How many of the first `limit` ids are the same."""
    if a[:limit] == b[:limit]:
        return max(0, limit)
    return next(i for i, (x, y) in enumerate(zip(a, b)) if x != y)


def _steps(rows: SequenceOf[_Row], n_tokens: int) -> Iterator[list[tuple[_Row, int, int]]]:
    """(text, from, to) cut so that a step has `n_tokens`; a text's pieces stay in order."""
    pieces: list[tuple[_Row, int, int]] = []
    room = n_tokens
    for row in rows:
        at = row.start
        while at < row.n_fed:
            end = min(at + room, row.n_fed)
            pieces.append((row, at, end))
            room -= end - at
            at = end
            if not room:
                yield pieces
                pieces, room = [], n_tokens
    if pieces:
        yield pieces


def _batch(pieces: SequenceOf[tuple[_Row, int, int]]) -> tuple[StepBatch, NDArray[np.int64], NDArray[np.int64]]:
    """The step, and of each row of its logits the id it is asked for and the text it belongs to."""
    ids: list[int] = []
    logit_rows: list[int] = []
    targets: list[int] = []
    table_RP = np.zeros((len(pieces), max(len(row.table) for row, _, _ in pieces)), np.int32)
    for at, (row, start, end) in enumerate(pieces):
        table_RP[at, : len(row.table)] = row.table
        first = max(start, row.first_read)
        logit_rows += range(len(ids) + first - start, len(ids) + end - start)
        targets += row.tail.ids[first + 1 : end + 1] if first < end else ()
        ids += row.tail.ids[start:end]
    start_R = np.array([start for _, start, _ in pieces], np.int64)
    end_R = np.array([end for _, _, end in pieces], np.int64)
    count_R = end_R - start_R
    position_T = np.arange(len(ids)) - np.repeat(np.cumsum(count_R) - count_R - start_R, count_R)
    n_scored_R = np.array([max(0, end - max(start, row.first_read)) for row, start, end in pieces], np.int64)
    batch = StepBatch(
        torch.tensor(ids), torch.from_numpy(position_T), torch.from_numpy(np.repeat(np.arange(len(pieces)), count_R)),
        torch.from_numpy(table_RP), torch.from_numpy(end_R), torch.tensor(logit_rows, dtype=torch.long),
    )  # fmt: skip
    owner_R = np.repeat(np.array([row.number for row, _, _ in pieces], np.int64), n_scored_R)
    return batch, np.array(targets, np.int64), owner_R
