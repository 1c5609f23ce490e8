"""Do people agree?  Krippendorff's alpha with an interval, each annotator against the others, and test questions.

alpha = 1 - D_o / D_e: observed over expected disagreement, from the matrix of coincidences of values within units
(Krippendorff, Content Analysis, 2004, ch. 11; Hayes & Krippendorff 2007).  1 is perfect, 0 chance, below 0 systematic
disagreement; 0.8 is the usual threshold, 0.667 the lowest for tentative conclusions.

What is compared: thumbs (nominal), each criterion of a rubric (ordinal), and of rankings the rank of each answer
(ordinal).  The answers of one item are not independent, so intervals resample items, with all that belongs to them.
Where nobody ever disagreed, resampling cannot leave 1: the low end is then alpha as it would be if as large a share of
the items as Wilson's interval allows were judged by chance.
Left out: free texts, which need another judge; the interval of Krippendorff's own bootstrap (it resamples pairs, and
holds D_e fixed).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from glasshouse.core.intervals import N_RESAMPLES, rate_interval, resampled_sums, wilson_interval
from glasshouse.core.records import Score
from glasshouse.feedback.collected import Collected
from glasshouse.feedback.label import Label, likeness, passes

Floats = NDArray[np.float64]
Level = Literal["nominal", "ordinal", "interval"]
MIN_ITEMS = 2  # judged by two or more people, below which nothing is said


@dataclass(frozen=True, slots=True)
class Unit:
    """What several people judged: the values they gave.  Units of one `cluster` are resampled together."""

    values: tuple[float, ...]
    cluster: Hashable


def krippendorff_alpha(units: Sequence[Unit], level: Level, name: str = "alpha", seed: int = 0) -> Score | None:
    """Alpha with its 95 % interval; None where it is not defined: nothing judged twice, or one value alone in use.

    [Unit((1, 1), 0), Unit((2, 2), 1)] -> 1.0        `count` of the score is the number of units compared
    """
    units = [unit for unit in units if len(unit.values) > 1]
    scale = sorted({value for unit in units for value in unit.values})
    if len(scale) < 2:
        return None
    coincidences_CVV = _coincidences(units, scale)
    n_clusters = len(coincidences_CVV)
    total_1VV = coincidences_CVV.sum(axis=0, keepdims=True)
    value = float(_alpha(total_1VV, scale, level)[0])
    low, high = (
        _alpha_interval(coincidences_CVV, scale, level, seed) if value < 1 else (_low_of_perfect(n_clusters), 1.0)
    )
    return Score(name, value, low, high, len(units))


def _alpha_interval(coincidences_CVV: Floats, scale: Sequence[float], level: Level, seed: int) -> tuple[float, float]:
    n_clusters, n_values, _ = coincidences_CVV.shape
    sums_RC = resampled_sums(coincidences_CVV.reshape(n_clusters, -1), seed, N_RESAMPLES)
    alphas_R = _alpha(sums_RC.reshape(-1, n_values, n_values), scale, level)
    low, high = np.percentile(alphas_R[np.isfinite(alphas_R)], [2.5, 97.5])  # some resamples lack a second value
    return float(low), float(high)


def _low_of_perfect(n_clusters: int) -> float:
    return 1 - wilson_interval(0, n_clusters)[1]


def _coincidences(units: Sequence[Unit], scale: Sequence[float]) -> Floats:
    """For each cluster the matrix o_cv: how often c met v in a unit of m values, each pair weighted 1 / (m - 1)."""
    place = {value: i for i, value in enumerate(scale)}
    clusters = {cluster: i for i, cluster in enumerate(dict.fromkeys(unit.cluster for unit in units))}
    matrices_CVV = np.zeros((len(clusters), len(scale), len(scale)))
    for unit in units:
        count_V = np.bincount([place[value] for value in unit.values], minlength=len(scale)).astype(float)
        pairs_VV = np.outer(count_V, count_V) - np.diag(count_V)
        matrices_CVV[clusters[unit.cluster]] += pairs_VV / (len(unit.values) - 1)
    return matrices_CVV


def _alpha(coincidences_RVV: Floats, scale: Sequence[float], level: Level) -> Floats:
    """Alpha of each of R coincidence matrices; NaN where everybody always gave one value."""
    count_RV = coincidences_RVV.sum(axis=2)
    total_R = count_RV.sum(axis=1)
    distance_RVV = DISTANCES[level](count_RV, np.asarray(scale, dtype=float))
    observed_R = (coincidences_RVV * distance_RVV).sum(axis=(1, 2))
    expected_R = (count_RV[:, :, None] * count_RV[:, None, :] * distance_RVV).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected_R > 0, 1 - (total_R - 1) * observed_R / expected_R, np.nan)


def _nominal(count_RV: Floats, scale_V: Floats) -> Floats:
    return (scale_V[:, None] != scale_V[None, :]).astype(float)[None]


def _interval(count_RV: Floats, scale_V: Floats) -> Floats:
    return ((scale_V[:, None] - scale_V[None, :]) ** 2)[None]


def _ordinal(count_RV: Floats, scale_V: Floats) -> Floats:
    """Squared number of values given that lie between two values, half of those at either end."""
    middle_RV = np.cumsum(count_RV, axis=1) - count_RV / 2
    return (middle_RV[:, :, None] - middle_RV[:, None, :]) ** 2


DISTANCES: dict[Level, Callable[[Floats, Floats], Floats]] = {
    "nominal": _nominal, "ordinal": _ordinal, "interval": _interval,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AnnotatorAgreement:
    """`with_others`: how alike this person's labels are to those of others on the same items, 0 to 1 (`likeness`).
    `tests`: share of test questions passed."""

    name: str
    n_labels: int
    with_others: Score | None
    tests: Score | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """`alphas`: one, or one for each criterion of a rubric; `note` says why there is none."""

    alphas: tuple[Score, ...]
    annotators: tuple[AnnotatorAgreement, ...]
    n_items: int  # judged by two or more people
    note: str = ""


def measure_agreement(collected: Collected) -> Agreement:
    kind = collected.campaign.kind
    shared = {id: labels for id, labels in collected.by_item().items()
              if len(labels) > 1 and collected.items[id].known is None}  # fmt: skip
    names = sorted({label.annotator for label in collected.labels()})
    annotators = tuple(_annotator(collected, shared, name) for name in names)
    if kind in ("demonstration", "edit"):
        return Agreement((), annotators, len(shared), "free texts have no measure of agreement here")
    if len(shared) < MIN_ITEMS:
        note = f"agreement needs items judged by two or more people; there are {len(shared)} so far"
        return Agreement((), annotators, len(shared), note)
    seed = collected.campaign.seed
    found = [krippendorff_alpha(units, level, name, seed) for name, level, units in _measured(collected, shared)]
    alphas = tuple(score for score in found if score is not None)
    note = "" if alphas else "everybody gave one and the same value: agreement beyond chance cannot be measured"
    return Agreement(alphas, annotators, len(shared), note)


def _measured(collected: Collected, shared: dict[str, list[Label]]) -> list[tuple[str, Level, list[Unit]]]:
    """(name, level, units) of each alpha of this kind of campaign."""
    kind = collected.campaign.kind
    if kind == "thumbs":
        return [("alpha", "nominal", [Unit(tuple(label.value["is_good"] for label in labels), id)
                                      for id, labels in shared.items()])]  # fmt: skip
    if kind == "ranking":
        return [("alpha", "ordinal", [Unit(tuple(label.value["ranks"][i] for label in labels), id)
                                      for id, labels in shared.items()
                                      for i in range(len(collected.items[id].candidates))])]  # fmt: skip
    return [
        (criterion.name, "ordinal", [Unit(tuple(label.value["scores"][criterion.name] for label in labels), id)
                                     for id, labels in shared.items()])
        for criterion in collected.campaign.rubric
    ]  # fmt: skip


def _annotator(collected: Collected, shared: dict[str, list[Label]], name: str) -> AnnotatorAgreement:
    labels = [label for label in collected.labels() if label.annotator == name]
    tested = [(label, collected.items[label.item_id].known) for label in labels]
    passed = [passes(label.value, known) for label, known in tested if known is not None]
    return AnnotatorAgreement(name, len(labels), _with_others(collected, shared, name), _test_score(passed))


def _with_others(collected: Collected, shared: dict[str, list[Label]], name: str) -> Score | None:
    if collected.campaign.kind in ("demonstration", "edit"):
        return None
    rates = []
    for labels in shared.values():
        mine = [label for label in labels if label.annotator == name]
        others = [label for label in labels if label.annotator != name]
        if mine:
            rates.append(sum(likeness(mine[0].value, other.value) for other in others) / len(others))
    if not rates:
        return None
    return Score("agreement", sum(rates) / len(rates), *rate_interval(rates, collected.campaign.seed), len(rates))


def _test_score(passed: Sequence[bool]) -> Score | None:
    if not passed:
        return None
    return Score("tests", sum(passed) / len(passed), *wilson_interval(sum(passed), len(passed)), len(passed))
