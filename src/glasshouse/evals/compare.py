"""Whether two models differ: the same items, answered by both, so that what is hard for both cancels out.

The difference is B - A with a 95 % interval over units, from one resampling of both.  The p-value is of no difference:
exact McNemar where each item is right or wrong and stands for itself, else twice the smaller share of resampled
differences on either side of 0 (Davison & Hinkley 1997, with 1 added to both counts).  Nothing is corrected for many
comparisons.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from glasshouse.core.errors import DataError
from glasshouse.core.intervals import LEVEL, N_RESAMPLES, resampled_sums
from glasshouse.core.records import Score
from glasshouse.evals.evaluation import SCORE, TaskResult, read_result
from glasshouse.evals.metrics import METRICS, SHARE, Floats, sums_by_unit

Columns = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Difference:
    """`score.value` is B - A.  `n_only_a`, `n_only_b`: items that one of them alone got right, where items can be."""

    task: str
    metric: str
    a: float
    b: float
    score: Score
    p_value: float
    test: Literal["McNemar", "bootstrap"]
    n_only_a: int | None = None
    n_only_b: int | None = None

    @property
    def is_better(self) -> bool | None:
        """Whether B is; None where the difference may be chance (p at or above 0.05)."""
        if self.p_value >= 1 - LEVEL:
            return None
        return (self.score.value > 0) == METRICS[self.metric].is_better_higher


def compare_results(a: Path, b: Path) -> list[Difference]:
    """Of every task that both folders of results have, every metric.  `DataError` where they were asked otherwise."""
    differences: list[Difference] = []
    names = sorted(_names(a) & _names(b))
    if not names:
        raise DataError(f"{a} and {b} have no task in common ({_listed(a)}; {_listed(b)}): evaluate both on one")
    for name in names:
        differences += compare_task(read_result(a / f"{name}.json"), read_result(b / f"{name}.json"))
    return differences


def compare_task(
    a: tuple[TaskResult, Sequence[Mapping[str, Any]]], b: tuple[TaskResult, Sequence[Mapping[str, Any]]], seed: int = 0
) -> list[Difference]:
    """Items that either model could not be asked (too long for it) are left out of both."""
    (result_a, items_a), (result_b, items_b) = a, b
    if result_a.hash != result_b.hash:
        raise DataError(
            f"task {result_a.task}: the two results are of different items or settings (task hashes {result_a.hash} "
            f"and {result_b.hash}), so a difference would mean nothing. Evaluate both with the same task, data and "
            "--limit."
        )
    found_a, found_b = _asked(items_a), _asked(items_b)
    numbers = sorted(found_a.keys() & found_b.keys())
    if not numbers:
        raise DataError(f"task {result_a.task}: the two results have no item in common")
    units = [found_a[n]["unit"] for n in numbers]
    differences = []
    for name in (score.name for score in result_a.scores):
        columns_a, columns_b = ([found[n]["columns"][name] for n in numbers] for found in (found_a, found_b))
        differences.append(difference(result_a.task, name, columns_a, columns_b, units, seed))
    return differences


def difference(
    task: str, metric: str, columns_a: Columns, columns_b: Columns, units: Sequence[str], seed: int = 0
) -> Difference:
    kind = METRICS[metric]
    both_XC = kind.spread(np.array([*columns_a, *columns_b], dtype=np.float64))  # together, so that classes agree
    a_IC, b_IC = both_XC[: len(units)], both_XC[len(units) :]
    sums_UC = sums_by_unit(np.hstack([a_IC, b_IC]), units)
    value_a, value_b = (float(kind.of_sums(x.sum(0, keepdims=True))[0]) for x in (a_IC, b_IC))
    resampled_RC = resampled_sums(sums_UC, seed, N_RESAMPLES)
    n_columns = a_IC.shape[1]
    difference_R = kind.of_sums(resampled_RC[:, n_columns:]) - kind.of_sums(resampled_RC[:, :n_columns])
    tail = 100 * (1 - LEVEL) / 2
    low, high = (float(x) for x in np.percentile(difference_R, [tail, 100 - tail]))
    score = Score(metric, value_b - value_a, low, high, len(units), kind.unit)
    if kind is SHARE and len(set(units)) == len(units):
        right_a, right_b = a_IC[:, 0] > 0.5, b_IC[:, 0] > 0.5
        n_a, n_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
        return Difference(task, metric, value_a, value_b, score, mcnemar(n_a, n_b), "McNemar", n_a, n_b)
    return Difference(task, metric, value_a, value_b, score, bootstrap_p(difference_R), "bootstrap")


def mcnemar(n_only_a: int, n_only_b: int) -> float:
    """Exact two-sided p-value: were they equally good, each would win half of the items they disagree on.

    mcnemar(0, 5) -> 0.0625
    """
    n = n_only_a + n_only_b
    tail = sum(math.comb(n, k) for k in range(min(n_only_a, n_only_b) + 1))
    return min(1.0, 2 * tail / 2**n)


def bootstrap_p(difference_R: Floats) -> float:
    n = len(difference_R)
    below, above = int((difference_R <= 0).sum()), int((difference_R >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + n))


def _asked(items: Sequence[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    return {item["number"]: item for item in items if item["asking"] == SCORE and item["columns"] is not None}


def _names(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of results")
    return {path.name.removesuffix(".items.jsonl") for path in folder.glob("*.items.jsonl")} & {
        path.stem for path in folder.glob("*.json")
    }


def _listed(folder: Path) -> str:
    return f"{folder.name} has {', '.join(sorted(_names(folder))) or 'none'}"
