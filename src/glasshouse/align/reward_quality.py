"""How good a reward model is on pairs it has not seen: how often it agrees with people, and whether its odds are true.

Accuracy: the share of pairs whose preferred answer scores higher (equal scores count as wrong); Wilson's interval.
Calibration: the model says sigmoid(|difference|) for the answer it favours; among pairs of like confidence, how often
is it right?  ECE is the mean gap over bins, weighted by their pairs.  Units: probabilities, nats.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from glasshouse.align.reward_model import RewardModel
from glasshouse.batch.comparisons import judgements
from glasshouse.core.intervals import wilson_interval
from glasshouse.core.records import Conversation, Message, Preference, Ranking, Score

N_BINS = 10


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    low: float
    high: float
    n_pairs: int
    confidence: float  # mean of what the model says
    accuracy: float  # what came true


@dataclass(frozen=True, slots=True)
class RewardQuality:
    accuracy: Score
    log_loss: float
    expected_calibration_error: float
    reliability: tuple[ReliabilityBin, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge_reward_model(model: RewardModel, held_out: Sequence[Preference | Ranking]) -> RewardQuality:
    """On every pair of `held_out`; the pairs of a ranking are counted one by one."""
    conversations: list[Conversation] = []
    pairs: list[tuple[int, int]] = []
    for record in held_out:
        answers, preferred = judgements(record)
        start = len(conversations)
        conversations += [Conversation((*record.prompt, Message("assistant", answer))) for answer in answers]
        pairs += [(start + i, start + j) for i, j in preferred]
    scores = model.score(conversations)
    return quality_of([scores[i] - scores[j] for i, j in pairs])


def quality_of(differences: Sequence[float]) -> RewardQuality:
    """From score differences, preferred answer less the other."""
    difference_P = np.asarray(differences, np.float64)
    n_right = int((difference_P > 0).sum())
    low, high = wilson_interval(n_right, len(difference_P))
    accuracy = Score("reward_accuracy", n_right / len(difference_P), low, high, len(difference_P))
    bins = _reliability(difference_P)
    gap = sum(b.n_pairs * abs(b.confidence - b.accuracy) for b in bins) / len(difference_P)
    log_loss = float(np.logaddexp(0.0, -difference_P).mean())
    return RewardQuality(accuracy, log_loss, gap, tuple(bins))


def describe(quality: RewardQuality) -> str:
    """`agrees with people on 58.4 % (54.0-62.6 %) of 500 held-out pairs · calibration error 0.031 · 0.671 nats`."""
    a = quality.accuracy
    return (
        f"agrees with people on {a.value:.1%} ({a.low:.1%}–{a.high:.1%}) of {a.count:,} held-out pairs · "
        f"calibration error {quality.expected_calibration_error:.3f} · {quality.log_loss:.3f} nats "
        f"(chance {math.log(2):.3f})"
    )


def _reliability(difference_P: "np.typing.NDArray[np.float64]") -> list[ReliabilityBin]:
    """Bins of equal width over [0.5, 1]; empty ones are left out."""
    confidence_P, is_right_P = 1 / (1 + np.exp(-np.abs(difference_P))), difference_P > 0
    edges = np.linspace(0.5, 1.0, N_BINS + 1)
    bin_P = np.clip(np.digitize(confidence_P, edges) - 1, 0, N_BINS - 1)
    return [
        ReliabilityBin(
            float(edges[b]), float(edges[b + 1]), int(here.sum()), float(confidence_P[here].mean()),
            float(is_right_P[here].mean()),
        )
        for b in range(N_BINS)
        if (here := bin_P == b).any()
    ]  # fmt: skip
