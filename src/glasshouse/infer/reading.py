"""What a prompt itself is worth: how likely each of its tokens was, or the whole of it as one vector.

A reading is a request that generates nothing.  It waits, takes blocks and comes on in pieces like any other, and is
read with the weights that answers come from.  Its pieces run alone and are small: every place's logits are wanted.
Shapes: C tokens of a piece, D model, V vocab.  Log-probabilities in nats.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from glasshouse.infer.runner import Runner, StepBatch

PIECE = 128  # tokens at a time: with a vocabulary of 49,152 their logits are 25 MB
Score = tuple[float, tuple[tuple[int, float], ...]]  # log-probability, and the likeliest ones in its place


class Reading(Protocol):
    def take(self, runner: Runner, batch: StepBatch, ids: Sequence[int]) -> None:
        """Read one piece of the prompt `ids`, from position 0 on again where its memory was needed elsewhere."""
        ...


class PromptScores:
    """Of every token after the first: its log-probability given those before it, and `n` alternatives."""

    def __init__(self, vocab_size: int, n: int) -> None:
        self.scores: list[Score] = []
        self._vocab_size, self._n = vocab_size, n

    def take(self, runner: Runner, batch: StepBatch, ids: Sequence[int]) -> None:
        start = int(batch.position_T[0])
        del self.scores[start:]
        next_C = torch.tensor(list(ids[start + 1 : start + 1 + len(batch.ids_T)]))
        if len(next_C):
            logits_CV = runner.run(_asking(batch, len(next_C)))[:, : self._vocab_size]
            self.scores += _scores(logits_CV.log_softmax(dim=1), next_C.to(logits_CV.device), self._n)


def _scores(logp_CV: Tensor, next_C: Tensor, n: int) -> list[Score]:
    logp_C = logp_CV.gather(1, next_C[:, None]).squeeze(1).tolist()
    top = logp_CV.topk(min(n, logp_CV.shape[1]), dim=1)
    pairs = zip(top.indices.tolist(), top.values.tolist())
    return [(logp, tuple(zip(ids, logps))) for logp, (ids, logps) in zip(logp_C, pairs)]


class PromptVector:
    """The mean over the tokens of what the head reads, of unit length."""

    def __init__(self) -> None:
        self._pieces: list[Tensor] = []

    def take(self, runner: Runner, batch: StepBatch, ids: Sequence[int]) -> None:
        if int(batch.position_T[0]) == 0:
            self._pieces.clear()
        self._pieces.append(runner.hidden(_asking(batch, len(batch.ids_T))))

    def vector(self) -> Tensor:
        """(D,).  Summed at the end and at once, so that it does not depend on how the text was cut."""
        return F.normalize(torch.cat(self._pieces).mean(0), dim=0)


def _asking(batch: StepBatch, n_rows: int) -> StepBatch:
    return replace(batch, logit_rows=torch.arange(n_rows))
