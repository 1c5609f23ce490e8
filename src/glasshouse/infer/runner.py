"""One step of the model over many sequences: what a runner is given, and the plain torch one.

Shapes: T tokens of the step, R sequences, P blocks of a sequence, V vocab; B answers, T tokens of each (`Decoding`).
Any class with `run` can stand behind the engine; it owns the memory of keys and values.
"""

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from glasshouse.infer.stable import N_ROWS, RowStable
from glasshouse.model import PagedAttention, PagedCache, Transformer

BLOCK_SIZE = 16


@dataclass(frozen=True, slots=True)
class StepBatch:
    """The new tokens of R sequences.  Those of one sequence stand in a row, in order of position.  On CPU."""

    ids_T: Tensor  # int64
    position_T: Tensor  # int64
    sequence_T: Tensor  # int64: which of the R sequences
    block_table_RP: Tensor  # int32: position p lies in block [p // block_size], slot p % block_size; padded with 0
    length_R: Tensor  # int64: tokens of each sequence after this step
    logit_rows: Tensor  # int64: indices into T whose logits are wanted


@dataclass(frozen=True)
class Decoding:
    """Many answers said in one loop (`decoding`, or natively): what is given, and room for what comes out."""

    n_ids: int  # of the V, those that may be drawn
    temperature: float
    end_ids: Collection[int]
    uniform_BT: np.ndarray  # fp64, from 0 to below 1
    start_B: np.ndarray  # int64: where the first token of each answer stands
    limit_B: np.ndarray  # int64: tokens at most
    table_BP: np.ndarray  # int32: blocks, as `StepBatch` has them
    ids_BT: np.ndarray  # int64: results
    logp_BT: np.ndarray  # fp32, at the temperature
    n_tokens_B: np.ndarray  # int64
    is_ended_B: np.ndarray  # bool


class Planned(Protocol):
    """What a step needs to know of a sequence."""

    tokens: list[int]
    drafts: list[int]  # guesses that follow them
    blocks: list[int]
    n_computed: int  # of `tokens`, those already in memory


P = TypeVar("P", bound=Planned)


def step_batch(plan: Mapping[P, int]) -> tuple[StepBatch, list[P]]:
    """The step's tokens, and the sequences whose next token can be chosen after it."""
    ids: list[int] = []
    logit_rows: list[int] = []
    answering = []
    for sequence, n_tokens in plan.items():
        start, n_drafts = sequence.n_computed, len(sequence.drafts)
        n_known = n_tokens - n_drafts
        ids += sequence.tokens[start : start + n_known]
        ids += sequence.drafts
        if start + n_known == len(sequence.tokens):
            answering.append(sequence)
            logit_rows += range(len(ids) - n_drafts - 1, len(ids))
    count_R = np.fromiter(plan.values(), dtype=np.int64, count=len(plan))
    start_R = np.array([sequence.n_computed for sequence in plan], dtype=np.int64)
    first_R = np.cumsum(count_R) - count_R
    sequence_T = np.repeat(np.arange(len(plan)), count_R)
    position_T = np.arange(len(ids)) - np.repeat(first_R - start_R, count_R)
    table_RP = np.zeros((len(plan), max(len(s.blocks) for s in plan)), dtype=np.int32)
    for row, sequence in zip(table_RP, plan):
        row[: len(sequence.blocks)] = sequence.blocks
    batch = StepBatch(
        torch.tensor(ids), torch.from_numpy(position_T), torch.from_numpy(sequence_T), torch.from_numpy(table_RP),
        torch.from_numpy(start_R + count_R), torch.tensor(logit_rows, dtype=torch.long),
    )  # fmt: skip
    return batch, answering


class Runner(Protocol):
    """Writes the keys and values of all T tokens in a layer before that layer's attention reads any: a sequence may
    read blocks that another one fills in the same step.  A row of logits depends on its own sequence only, to the last
    bit, whatever is beside it and however its tokens are cut into steps."""

    n_blocks: int
    block_size: int

    def copy_block(self, source: int, target: int) -> None:
        """The keys and values of one block into another."""
        ...

    def run(self, batch: StepBatch) -> Tensor:
        """Logits, float32, one row for every entry of `logit_rows`."""
        ...

    def hidden(self, batch: StepBatch) -> Tensor:
        """The same step, but what the head would read (after the final norm), float32, instead of logits."""
        ...


class TorchRunner:
    """The model as it is, over a paged cache."""

    def __init__(
        self, model: Transformer, n_blocks: int, block_size: int = BLOCK_SIZE, *, is_deterministic: bool = True
    ) -> None:
        """`is_deterministic` matters on CPU: see `stable`."""
        self.model, self.n_blocks, self.block_size = model, n_blocks, block_size
        self._cache = PagedCache(model.config, n_blocks, block_size, model.device, model.dtype)
        self._mode = RowStable() if is_deterministic and model.device.type == "cpu" else None

    def copy_block(self, source: int, target: int) -> None:
        self._cache.copy_block(source, target)

    @torch.inference_mode()
    def run(self, batch: StepBatch) -> Tensor:
        with self._mode or nullcontext():
            return F.linear(self._hidden(batch), self.model.head_weight_VD).float()

    @torch.inference_mode()
    def hidden(self, batch: StepBatch) -> Tensor:
        with self._mode or nullcontext():
            return self._hidden(batch).float()

    def _hidden(self, batch: StepBatch) -> Tensor:
        config, device = self.model.config, self.model.device
        pages = PagedAttention(
            self._cache, batch.position_T.numpy(), batch.sequence_T.numpy(), batch.block_table_RP.numpy(),
            config.n_heads // config.n_kv_heads,
        )  # fmt: skip
        # Whole groups of rows: the last elements of a tensor can go through another kernel (SiLU: the last 31).
        padding = (0, -len(batch.ids_T) % N_ROWS)
        ids_1T = F.pad(batch.ids_T, padding).to(device)[None]
        hidden_1TD = self.model.hidden(
            ids_1T, position_BT=F.pad(batch.position_T, padding).to(device)[None], pages=pages
        )
        return hidden_1TD[0].index_select(0, batch.logit_rows.to(device))
