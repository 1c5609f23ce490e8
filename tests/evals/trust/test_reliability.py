"""Calibration against scikit-learn, and by hand."""

import numpy as np
import pytest

from glasshouse.evals.trust.reliability import (
    brier,
    calibration_scores,
    expected_calibration_error,
    reliability_diagram,
    selective_accuracy,
    selective_curve,
)

RNG = np.random.Generator(np.random.PCG64(3))
P = RNG.uniform(size=2000)
RIGHT = (RNG.uniform(size=2000) < P**1.5).astype(float)


def test_brier_and_the_diagram_are_sklearns() -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    metrics = pytest.importorskip("sklearn.metrics")
    assert brier(P, RIGHT) == pytest.approx(metrics.brier_score_loss(RIGHT, P))
    accuracy, confidence = calibration.calibration_curve(RIGHT, P, n_bins=10)
    diagram = reliability_diagram(P, RIGHT)
    assert [bin["accuracy"] for bin in diagram] == pytest.approx(accuracy.tolist())
    assert [bin["confidence"] for bin in diagram] == pytest.approx(confidence.tolist())
    counts = np.array([bin["count"] for bin in diagram])
    expected = (counts / counts.sum() * np.abs(accuracy - confidence)).sum()
    assert expected_calibration_error(P, RIGHT) == pytest.approx(expected)


def test_ece_by_hand() -> None:
    assert expected_calibration_error([0.9, 0.9], [1, 0]) == pytest.approx(0.4)
    assert expected_calibration_error([1.0, 1.0, 0.0], [1, 1, 0]) == 0


def test_intervals_hold_the_value_and_a_calibrated_model_is_near_zero() -> None:
    right = (RNG.uniform(size=2000) < P).astype(float)
    for ece, quality in (calibration_scores("x", P, RIGHT), calibration_scores("x", P, right)):
        assert ece.name == "x_ece" and quality.name == "x_brier"
        assert ece.low <= ece.value <= ece.high and quality.low <= quality.value <= quality.high
    assert calibration_scores("x", P, right)[0].value < 0.04 < calibration_scores("x", P, RIGHT)[0].value


def test_selective_accuracy_rises_where_probability_means_something() -> None:
    curve = selective_curve(P, RIGHT)
    assert curve[-1]["share"] == 1 and curve[-1]["accuracy"] == pytest.approx(RIGHT.mean())
    assert curve[3]["accuracy"] > curve[-1]["accuracy"] + 0.2
    assert selective_accuracy(P, RIGHT, 0.5)[0] == pytest.approx(RIGHT[np.argsort(-P)[:1000]].mean())


def test_equally_sure_answers_are_one_point() -> None:
    assert selective_curve([0.5] * 4, [1, 0, 0, 1]) == [{"share": 1.0, "accuracy": 0.5, "p": 0.5}]
    assert selective_accuracy([0.5] * 4, [1, 0, 0, 1], 0.25)[0] == 0.5


@pytest.mark.parametrize(("p", "right"), [([], []), ([0.5], [1, 0]), ([1.5], [1])])
def test_what_is_no_probability_is_refused(p: list[float], right: list[int]) -> None:
    with pytest.raises(ValueError, match=r"probabilities"):
        brier(p, right)
