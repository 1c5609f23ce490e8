"""From the logits of one step to the tokens of many requests, guesses kept or dropped on the way.

Shapes: R rows of logits, V vocab.  Log-probabilities in nats.
"""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from glasshouse.core.errors import CheckpointError, GlasshouseError
from glasshouse.infer.sampler import choose
from glasshouse.infer.sampling import LEAST, LogProbabilities
from glasshouse.infer.sequence import Alternatives, Delta, Sequence

Live = list[tuple[Sequence, int]]  # those whose next token can be chosen, each with the row of its first logits


@dataclass(slots=True)
class Chosen:
    """What came out of a step.  `failed`: sequences whose grammar could not go on; they have an `error`."""

    deltas: list[tuple[Sequence, Delta]] = field(default_factory=list)
    failed: list[Sequence] = field(default_factory=list)
    n_drafted: int = 0
    n_accepted: int = 0


def choose_tokens(logits_RV: Tensor, answering: SequenceOf[Sequence]) -> Chosen:
    """Push the tokens of every sequence whose logits are here, one row and one more for each of its drafts.

    Drafts that equal what is chosen anyway are kept, and then the next place's logits hold too: speculation can change
    no token, greedy or sampled.
    """
    chosen = Chosen(n_drafted=len(logits_RV) - len(answering))
    n_rows = [1 + len(s.drafts) for s in answering]
    logps = _reported_logps(logits_RV, answering, n_rows)
    live: Live = list(zip(answering, np.cumsum([0, *n_rows[:-1]]).tolist())) if answering else []
    place = 0
    while live:
        live, masks = _masked(live, chosen.failed)
        rows = [row + place for _, row in live]
        rows_logits_RV = logits_RV if len(rows) == len(logits_RV) else logits_RV[rows]
        deltas = _push([s for s, _ in live], rows_logits_RV, logps, rows, masks) if live else []
        chosen.deltas += zip((s for s, _ in live), deltas)
        live = [pair for pair, delta in zip(live, deltas) if _is_draft_right(pair[0], delta, place)]
        for sequence, _ in live:
            sequence.n_computed += 1
        chosen.n_accepted += len(live)
        place += 1
    for sequence in answering:
        sequence.drafts.clear()
    return chosen


def _reported_logps(logits_RV: Tensor, answering: SequenceOf[Sequence], n_rows: SequenceOf[int]) -> LogProbabilities:
    """The model's own log-probabilities; at the sampling temperature for those that asked for it."""
    settings = [s.choice.config for s in answering]
    if any(config.scales_logps and config.temperature not in (0, 1) for config in settings):
        divisors = [max(c.temperature, LEAST) if c.scales_logps and c.temperature else 1.0 for c in settings]
        repeats = torch.tensor(n_rows)
        logits_RV = logits_RV / torch.tensor(divisors).repeat_interleave(repeats).to(logits_RV.device)[:, None]
    return LogProbabilities(logits_RV)


def _masked(live: Live, failed: list[Sequence]) -> tuple[Live, list[Tensor | None] | None]:
    """What each one's grammar allows.  One whose grammar cannot go on fails; the others do not."""
    if not any(s.choice.grammar for s, _ in live):
        return live, None
    kept: Live = []
    masks: list[Tensor | None] = []
    for sequence, row in live:
        grammar = sequence.choice.grammar
        try:
            masks.append(grammar.mask() if grammar else None)
            kept.append((sequence, row))
        except GlasshouseError as error:
            sequence.error = error
            failed.append(sequence)
    return kept, masks


def _push(
    sequences: SequenceOf[Sequence], logits_RV: Tensor, logps: LogProbabilities, rows: list[int],
    masks: list[Tensor | None] | None,
) -> list[Delta]:  # fmt: skip
    ids_R = choose(logits_RV, [s.choice for s in sequences], masks)
    logp_R = logps.of(ids_R, rows)
    if not bool(torch.isfinite(logp_R).all()):
        raise CheckpointError(
            "the model's output is not a number: its weights are damaged or its training diverged. "
            "Go back to an earlier checkpoint."
        )
    alternatives = [_alternatives(logps, row, s.choice.config.n_logprobs) for row, s in zip(rows, sequences)]
    tokens = zip(sequences, ids_R.tolist(), logp_R.tolist(), alternatives)
    return [sequence.push(id, logp, others) for sequence, id, logp, others in tokens]


def _is_draft_right(sequence: Sequence, delta: Delta, place: int) -> bool:
    drafts = sequence.drafts
    return sequence.finish_reason is None and place < len(drafts) and drafts[place] == delta.id


def _alternatives(logps: LogProbabilities, row: int, n: int) -> Alternatives:
    if not n:
        return ()
    logp_V = logps.row(row)
    top = logp_V.topk(min(n, len(logp_V)))
    return tuple(zip(top.indices.tolist(), top.values.tolist()))
