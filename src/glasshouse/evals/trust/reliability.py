"""Whether a model is as often right as it is sure: calibration errors, and what is gained by answering less.

Shapes: N answers, each with a probability p_N and whether it was right.
ECE       sum over bins of (share of answers) x |mean probability - share right| (arXiv:1706.04599, eq. 3)
Brier     mean of (p - right)^2
selective accuracy      share right among the surest answers, by the share that is answered (arXiv:1705.08500)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glasshouse.core.intervals import bootstrap_interval
from glasshouse.core.records import Score
from glasshouse.core.seeds import numpy_generator

N_BINS = 10
N_RESAMPLES = 500
CURVE_POINTS = 40
Floats = NDArray[np.float64]


def expected_calibration_error(p_N: ArrayLike, is_right_N: ArrayLike, n_bins: int = N_BINS) -> float:
    """`expected_calibration_error([0.9, 0.9], [1, 0])` -> 0.4: said nine in ten, was right once in two."""
    p, right = _checked(p_N, is_right_N)
    bins = _bins(p, n_bins)
    gaps = np.bincount(bins, p - right, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(p))


def brier(p_N: ArrayLike, is_right_N: ArrayLike) -> float:
    p, right = _checked(p_N, is_right_N)
    return float(((p - right) ** 2).mean())


def calibration_scores(prefix: str, p_N: ArrayLike, is_right_N: ArrayLike, seed: int = 0) -> list[Score]:
    """`<prefix>_ece` and `<prefix>_brier` with their intervals.

    Resampling adds noise to every bin and so lifts the ECE: its interval is moved back to be about the value.
    """
    p, right = _checked(p_N, is_right_N)
    value = expected_calibration_error(p, right)
    rng = numpy_generator(seed, "calibration")
    drawn = [rng.integers(0, len(p), len(p)) for _ in range(N_RESAMPLES)]
    resampled = np.array([expected_calibration_error(p[i], right[i]) for i in drawn])
    low, high = (float(q) for q in np.percentile(resampled - resampled.mean() + value, [2.5, 97.5]))
    squares = (p - right) ** 2
    return [
        Score(f"{prefix}_ece", value, max(0.0, min(low, value)), min(1.0, max(high, value)), len(p), "share"),
        Score(f"{prefix}_brier", float(squares.mean()), *bootstrap_interval(squares, seed), len(p), "squared"),
    ]


def reliability_diagram(p_N: ArrayLike, is_right_N: ArrayLike, n_bins: int = N_BINS) -> list[dict[str, Any]]:
    """[{confidence, accuracy, count}] of every bin that holds an answer."""
    p, right = _checked(p_N, is_right_N)
    bins = _bins(p, n_bins)
    return [
        {"confidence": float(p[bins == b].mean()), "accuracy": float(right[bins == b].mean()),
         "count": int((bins == b).sum())}
        for b in range(n_bins) if (bins == b).any()
    ]  # fmt: skip


def selective_accuracy(p_N: ArrayLike, is_right_N: ArrayLike, share: float) -> tuple[float, Floats]:
    """(accuracy, right or wrong of each) of the surest `share` of the answers; equally sure ones are taken together."""
    p, right = _checked(p_N, is_right_N)
    least = np.sort(p)[::-1][max(1, round(share * len(p))) - 1]
    chosen = right[p >= least]
    return float(chosen.mean()), chosen


def selective_curve(p_N: ArrayLike, is_right_N: ArrayLike) -> list[dict[str, float]]:
    """[{share, accuracy, p}]: of the answers with probability p or more, their share of all and how many are right."""
    p, right = _checked(p_N, is_right_N)
    order = np.argsort(-p, kind="stable")
    sorted_p, n_right = p[order], np.cumsum(right[order])
    last_of_equals = np.append(sorted_p[1:] != sorted_p[:-1], True).nonzero()[0]
    if len(last_of_equals) > CURVE_POINTS:
        last_of_equals = last_of_equals[np.linspace(0, len(last_of_equals) - 1, CURVE_POINTS).round().astype(int)]
    return [
        {"share": float((i + 1) / len(p)), "accuracy": float(n_right[i] / (i + 1)), "p": float(sorted_p[i])}
        for i in last_of_equals
    ]


def _bins(p: Floats, n_bins: int) -> NDArray[np.int64]:
    return np.minimum((p * n_bins).astype(np.int64), n_bins - 1)


def _checked(p_N: ArrayLike | Sequence[float], is_right_N: ArrayLike) -> tuple[Floats, Floats]:
    p, right = np.asarray(p_N, dtype=np.float64), np.asarray(is_right_N, dtype=np.float64)
    if not len(p) or len(p) != len(right):
        raise ValueError(f"as many probabilities as answers are needed, at least one; got {len(p)} and {len(right)}")
    if p.min() < 0 or p.max() > 1 + 1e-9:
        raise ValueError(f"probabilities lie from 0 to 1; got {p.min()} to {p.max()}")
    return p, right
