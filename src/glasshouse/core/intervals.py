"""How sure a mean is: 95 % intervals by resampling the units it was measured on.

The statistic is sum(values) / sum(weights) over units; a unit is what was drawn independently: a document for bits per
byte, a name (with all its phrasings) for questions.  Resampling questions one by one would call fifty phrasings of one
name fifty observations and give intervals far too narrow.
The percentile bootstrap (Efron 1979) is used, except for proportions so near 0 or 1 that fewer than `MIN_EACH` units
differ: there resampling can hardly leave the observed value (at 0 of 20 it gives [0, 0]) and Wilson's score interval
(1927) over the number of units is given instead.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glasshouse.core.seeds import numpy_generator

N_RESAMPLES = 1000
LEVEL = 0.95
Z = 1.959964  # normal quantile of (1 + LEVEL) / 2
MIN_EACH = 5  # units on either side below which Wilson's interval replaces the bootstrap's
CHUNK_COUNTS = 4_000_000  # numbers held at once while resampling (32 MB)

Floats = NDArray[np.float64]


def bootstrap_interval(
    values: ArrayLike, seed: int = 0, weights: ArrayLike | None = None, n_resamples: int = N_RESAMPLES
) -> tuple[float, float]:
    """(low, high) of sum(values) / sum(weights); without weights, of the mean.  The same seed gives the same interval.

    bootstrap_interval([1, 1, 1]) -> (1.0, 1.0): for proportions use `proportion_intervals`.
    """
    values_U = np.asarray(values, dtype=np.float64)
    weights_U = np.ones_like(values_U) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(values_U) == 0:
        raise ValueError("an interval needs at least one value")
    sums_RC = resampled_sums(np.stack([values_U, weights_U], axis=1), seed, n_resamples)
    return _percentiles(sums_RC[:, 0], sums_RC[:, 1])


def wilson_interval(n_success: float, n: int) -> tuple[float, float]:
    """Wilson's score interval.  wilson_interval(0, 20) -> (0.0, 0.161)."""
    if n < 1:
        raise ValueError("an interval needs at least one value")
    p, z2 = n_success / n, Z * Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, min(p, float(centre - half))), min(1.0, max(p, float(centre + half)))  # at 0 and 1 but for rounding


def rate_interval(rates: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """(low, high) of the mean of rates, one a unit, each from 0 to 1."""
    rates_U = np.asarray(rates, dtype=np.float64)
    if min(int((rates_U > 0).sum()), int((rates_U < 1).sum())) < MIN_EACH:
        return wilson_interval(float(rates_U.sum()), len(rates_U))
    return bootstrap_interval(rates_U, seed)


def proportion_intervals(
    successes_QC: NDArray[np.bool_], units_Q: Sequence[str], seed: int = 0, n_resamples: int = N_RESAMPLES
) -> list[tuple[float, float]]:
    """One interval for each of C rates over Q items, where items of one unit are drawn together."""
    _, unit_Q = np.unique(np.asarray(units_Q), return_inverse=True)
    n_units = int(unit_Q.max()) + 1
    sums_UC = np.zeros((n_units, successes_QC.shape[1] + 1))
    np.add.at(sums_UC, unit_Q, np.column_stack([successes_QC, np.ones(len(unit_Q))]))
    resampled_RC = resampled_sums(sums_UC, seed, n_resamples)
    rates_UC = sums_UC[:, :-1] / sums_UC[:, -1:]
    return [
        _proportion(rates_UC[:, c], sums_UC[:, c].sum() / len(unit_Q), resampled_RC[:, c], resampled_RC[:, -1])
        for c in range(successes_QC.shape[1])
    ]


def _proportion(rates_U: Floats, rate: float, sums_R: Floats, counts_R: Floats) -> tuple[float, float]:
    n_units = len(rates_U)
    if min(int((rates_U > 0).sum()), int((rates_U < 1).sum())) < MIN_EACH:
        return wilson_interval(rate * n_units, n_units)
    return _percentiles(sums_R, counts_R)


def statistic_interval(
    sums_UC: Floats, statistic: Callable[[Floats], Floats], seed: int = 0, n_resamples: int = N_RESAMPLES
) -> tuple[float, float]:
    """(low, high) of what `statistic` makes of column sums, (R, C) to (R,), such as F1 of counts or BLEU of n-grams."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(statistic(resampled_sums(sums_UC, seed, n_resamples)), [tail, 100 - tail])
    return float(low), float(high)


def resampled_sums(sums_UC: Floats, seed: int, n_resamples: int) -> Floats:
    """Column sums of `n_resamples` draws of U units with replacement: how often each unit was drawn, times its sums."""
    generator = numpy_generator(seed, "bootstrap")
    n_units = len(sums_UC)
    chunk = max(1, CHUNK_COUNTS // n_units)
    parts = []
    for start in range(0, n_resamples, chunk):
        rows = min(chunk, n_resamples - start)
        drawn_RU = generator.integers(0, n_units, size=(rows, n_units), dtype=np.int64)
        drawn_RU += np.arange(rows)[:, None] * n_units
        counts_RU = np.bincount(drawn_RU.ravel(), minlength=rows * n_units).reshape(rows, n_units)
        parts.append(counts_RU.astype(np.float64) @ sums_UC)
    return np.concatenate(parts)


def _percentiles(sums_R: Floats, weights_R: Floats) -> tuple[float, float]:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(sums_R / weights_R, [tail, 100 - tail])
    return float(low), float(high)
