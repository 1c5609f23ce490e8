import numpy as np
import pytest

from glasshouse.core.intervals import bootstrap_interval
from glasshouse.evals.metrics import METRICS, by_class, macro_f1, score_of


def test_macro_f1_equals_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for n_classes in (2, 3, 5):
        classes = rng.integers(0, n_classes, (60, 2))
        found = macro_f1(by_class(classes.astype(float)).sum(0, keepdims=True))[0]
        assert found == pytest.approx(metrics.f1_score(classes[:, 1], classes[:, 0], average="macro"))


def test_a_ratio_has_the_weighted_bootstrap_interval():
    columns = [(3.0, 2.0), (8.0, 4.0), (5.0, 10.0)] * 5
    score = score_of("bits_per_byte", columns, [f"{i:02}" for i in range(15)], seed=3)
    bits, n_bytes = zip(*columns)
    assert score.value == pytest.approx(16 / 16)
    assert (score.low, score.high) == pytest.approx(bootstrap_interval(bits, 3, weights=n_bytes))


def test_items_of_one_unit_are_drawn_together():
    columns = [(float(i % 20 < 10), 1.0) for i in range(400)]
    alone = score_of("accuracy", columns, [str(i) for i in range(400)], 0)
    together = score_of("accuracy", columns, [str(i // 10) for i in range(400)], 0)
    assert alone.value == together.value == 0.5
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_perfect_score_is_not_certain():
    score = score_of("exact", [(1.0, 1.0)] * 20, list(map(str, range(20))), 0)
    assert score.value == score.high == 1.0 and 0.8 < score.low < 0.9


def test_the_interval_of_f1_holds_its_value():
    rng = np.random.default_rng(1)
    score = score_of("macro_f1", rng.integers(0, 3, (200, 2)).astype(float).tolist(), list(map(str, range(200))), 0)
    assert score.low < score.value < score.high
    assert METRICS["macro_f1"].is_better_higher and not METRICS["bits_per_byte"].is_better_higher
