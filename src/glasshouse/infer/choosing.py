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
from glasshouse.infer.sampling import LEAST, log_probabilities
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
    logp_RV = _reported_logps(logits_RV, answering, n_rows)
    live: Live = list(zip(answering, np.cumsum([0, *n_rows[:-1]]).tolist())) if answering else []
    place = 0
    while live:
        live, masks = _masked(live, chosen.failed)
        rows = [row + place for _, row in live]
        everything = len(rows) == len(logits_RV)
        rows_logits_RV, rows_logp_RV = (logits_RV, logp_RV) if everything else (logits_RV[rows], logp_RV[rows])
        deltas = _push([s for s, _ in live], rows_logits_RV, rows_logp_RV, masks) if live else []
        chosen.deltas += zip((s for s, _ in live), deltas)
        live = [pair for pair, delta in zip(live, deltas) if _is_draft_right(pair[0], delta, place)]
        for sequence, _ in live:
            sequence.n_computed += 1
        chosen.n_accepted += len(live)
        place += 1
    for sequence in answering:
        sequence.drafts.clear()
    return chosen


def _reported_logps(logits_RV: Tensor, answering: SequenceOf[Sequence], n_rows: SequenceOf[int]) -> Tensor:
    """The model's own log-probabilities; at the sampling temperature for those that asked for it."""
    settings = [s.choice.config for s in answering]
    if any(config.scales_logps and config.temperature not in (0, 1) for config in settings):
        divisors = [max(c.temperature, LEAST) if c.scales_logps and c.temperature else 1.0 for c in settings]
        repeats = torch.tensor(n_rows)
        logits_RV = logits_RV / torch.tensor(divisors).repeat_interleave(repeats).to(logits_RV.device)[:, None]
    return log_probabilities(logits_RV)


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
    sequences: SequenceOf[Sequence], logits_RV: Tensor, logp_RV: Tensor, masks: list[Tensor | None] | None
) -> list[Delta]:
    ids_R = choose(logits_RV, [s.choice for s in sequences], masks)
    logp_R = logp_RV.gather(1, ids_R[:, None]).squeeze(1)
    if not bool(torch.isfinite(logp_R).all()):
        raise CheckpointError(
            "the model's output is not a number: its weights are damaged or its training diverged. "
            "Go back to an earlier checkpoint."
        )
    alternatives = _alternatives(logp_RV, [s.choice.config.n_logprobs for s in sequences])
    tokens = enumerate(zip(sequences, ids_R.tolist(), logp_R.tolist()))
    return [sequence.push(id, logp, alternatives.get(row, ())) for row, (sequence, id, logp) in tokens]


def _is_draft_right(sequence: Sequence, delta: Delta, place: int) -> bool:
    drafts = sequence.drafts
    return sequence.finish_reason is None and place < len(drafts) and drafts[place] == delta.id


def _alternatives(logp_RV: Tensor, n_R: SequenceOf[int]) -> dict[int, Alternatives]:
    rows = [row for row, n in enumerate(n_R) if n]
    if not rows:
        return {}
    top = logp_RV[rows].topk(min(max(n_R), logp_RV.shape[1]), dim=1)
    pairs = zip(rows, top.indices.tolist(), top.values.tolist())
    return {row: tuple(zip(ids[: n_R[row]], logps[: n_R[row]])) for row, ids, logps in pairs}
