"""From items to scores: every metric is a function of sums over items, so that each has an interval the same way.

A mean is a sum and a count; bits per byte are bits and bytes; F1 is made of counts by class, BLEU of counts of n-grams.
What one item adds to the sums are its columns, kept in its log: with them a score, its interval over any units and the
difference to another model (`compare`) come from the log alone.

Shapes: U units (what was drawn independently), C columns, R rows (resamples, or one).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glasshouse.core.intervals import proportion_intervals, statistic_interval
from glasshouse.core.records import Score
from glasshouse.evals.chrf import chrf_of

Floats = NDArray[np.float64]
Columns = Sequence[float]


@dataclass(frozen=True, slots=True)
class Metric:
    """`of_sums` turns (R, C) sums of columns into (R,) values; `spread` makes columns to be summed of what is kept."""

    unit: str
    of_sums: Callable[[Floats], Floats]
    is_better_higher: bool = True
    spread: Callable[[Floats], Floats] = lambda columns_IC: columns_IC


def ratio(sums_RC: Floats) -> Floats:
    """The first column by the second: a mean where the second counts items."""
    return sums_RC[:, 0] / np.maximum(sums_RC[:, 1], 1e-12)


def by_class(classes_I2: Floats) -> Floats:
    """Of the class chosen and the true one: one column for each class's hits, choices and truths."""
    chosen_I, true_I = classes_I2.astype(np.int64).T
    one_hot_KK = np.eye(int(classes_I2.max()) + 1)
    hits_IK = one_hot_KK[chosen_I] * (chosen_I == true_I)[:, None]
    return np.hstack([hits_IK, one_hot_KK[chosen_I], one_hot_KK[true_I]])


def macro_f1(sums_RC: Floats) -> Floats:
    """The mean of F1 over classes that occur; columns are hits, choices and truths of each class."""
    hits_RK, chosen_RK, true_RK = np.split(sums_RC, 3, axis=1)
    n_RK = chosen_RK + true_RK
    return np.asarray((2 * hits_RK / np.maximum(n_RK, 1)).sum(1) / np.maximum((n_RK > 0).sum(1), 1))


def bleu_of(sums_RC: Floats) -> Floats:
    """As `evals.bleu`, whose package is optional and imported only now."""
    from glasshouse.evals.bleu import bleu_of as of_counts

    return of_counts(sums_RC)


SHARE = Metric("share", ratio)
NEARNESS = Metric("0 to 1", ratio)
METRICS: dict[str, Metric] = {
    "accuracy": SHARE,
    "accuracy_per_token": SHARE,
    "accuracy_per_byte": SHARE,
    "macro_f1": Metric("0 to 1", macro_f1, spread=by_class),
    "bits_per_byte": Metric("bits/byte", ratio, is_better_higher=False),
    "exact": SHARE,
    "normalised": SHARE,
    "numeric": SHARE,
    "json": SHARE,
    "python": SHARE,
    "rouge_1": NEARNESS,
    "rouge_2": NEARNESS,
    "rouge_l": NEARNESS,
    "chrf": Metric("0 to 1", chrf_of),
    "bleu": Metric("0 to 1", bleu_of),
}


def score_of(name: str, columns: Sequence[Columns], units: Sequence[str], seed: int) -> Score:
    """The value over all items with its 95 % interval over units (items with one unit are drawn together)."""
    metric = METRICS[name]
    columns_IC = metric.spread(np.asarray(columns, dtype=np.float64))
    value = float(metric.of_sums(columns_IC.sum(0, keepdims=True))[0])
    if metric is SHARE:  # near 0 and 1 Wilson's interval
        [(low, high)] = proportion_intervals(columns_IC[:, :1] > 0.5, units, seed)
    else:
        low, high = statistic_interval(sums_by_unit(columns_IC, units), metric.of_sums, seed)
    return Score(name, value, low, high, len(columns), metric.unit)


def sums_by_unit(columns_IC: Floats, units: Sequence[str]) -> Floats:
    """(U, C)."""
    _, unit_I = np.unique(np.asarray(units), return_inverse=True)
    sums_UC = np.zeros((int(unit_I.max()) + 1, columns_IC.shape[1]))
    np.add.at(sums_UC, unit_I, columns_IC)
    return sums_UC
