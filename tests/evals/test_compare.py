import json

import numpy as np
import pytest

from glasshouse.core.errors import DataError
from glasshouse.evals import Likelihood, Task, TaskConfig, compare_results, evaluate
from glasshouse.evals.compare import bootstrap_p, difference, mcnemar


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 5), (3, 12), (40, 41), (7, 7)])
def test_mcnemar_equals_scipys_binomial_test(b, c):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(expected)


def test_a_difference_of_right_answers():
    a = [(1.0, 1.0)] * 40 + [(0.0, 1.0)] * 60
    b = [(1.0, 1.0)] * 70 + [(0.0, 1.0)] * 30
    found = difference("t", "accuracy", a, b, list(map(str, range(100))))
    assert (found.a, found.b, found.score.value) == (0.4, 0.7, pytest.approx(0.3))
    assert found.test == "McNemar" and (found.n_only_a, found.n_only_b) == (0, 30) and found.p_value == mcnemar(0, 30)
    assert 0.2 < found.score.low < 0.3 < found.score.high < 0.4 and found.is_better is True


def test_pairing_sees_what_two_intervals_do_not():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1, 200)
    a = [(float(x), 1.0) for x in hard]
    b = [(float(x + 0.05 + rng.normal(0, 0.1)), 1.0) for x in hard]
    found = difference("t", "rouge_l", a, b, list(map(str, range(200))))
    assert found.test == "bootstrap" and found.n_only_a is None
    assert 0 < found.score.low < found.score.value < found.score.high < 0.1 and found.p_value < 0.01


def test_fewer_bits_are_better_and_chance_is_neither():
    more, less = [(9.0, 1.0), (8.0, 1.0)] * 20, [(8.0, 1.0), (7.5, 1.0)] * 20
    units = list(map(str, range(40)))
    assert difference("t", "bits_per_byte", more, less, units).is_better is True
    assert difference("t", "bits_per_byte", less, more, units).is_better is False
    assert difference("t", "bits_per_byte", more, more, units).is_better is None


def test_units_that_belong_together_are_not_counted_one_by_one():
    a, b = [(0.0, 1.0)] * 100, [(float(i < 20), 1.0) for i in range(100)]
    assert difference("t", "exact", a, b, [str(i // 20) for i in range(100)]).test == "bootstrap"


def test_classes_of_both_agree():
    a, b = [(0.0, 0.0), (0.0, 1.0)], [(2.0, 0.0), (1.0, 1.0)]
    assert difference("t", "macro_f1", a, b, ["0", "1"]).b == pytest.approx(1 / 3)


def test_the_bootstraps_p_value():
    assert bootstrap_p(np.array([1.0] * 999)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.array([-1.0, 1.0] * 500)) == pytest.approx(1.0)


class Longest:
    def __init__(self, sign: int) -> None:
        self.sign = sign

    def likelihoods(self, pairs):
        return [Likelihood(float(self.sign * len(text)), False, 1, len(text)) for _, text in pairs]


@pytest.fixture
def results(tmp_path):
    """Folders of results of two models on one task."""

    def results(name, sign, n=30, limit=None):
        records = [{"q": "?", "options": ["a", "bb"], "right": int(i % 3 > 0)} for i in range(n)]
        (tmp_path / "data.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
        config = {"name": "t", "data": {"path": "data.jsonl"}, "prompt": "{q}",
                  "choices": {"field": "options", "right": "{right}"}}  # fmt: skip
        task = Task(TaskConfig.model_validate(config), tmp_path)
        evaluate(Longest(sign), [task], out=tmp_path / name, model_name=name, limit=limit)
        return tmp_path / name

    return results


def test_folders_of_results(results):
    found = compare_results(results("a", -1), results("b", 1))
    assert [d.metric for d in found] == ["accuracy", "accuracy_per_token", "accuracy_per_byte"]
    assert found[0].a == pytest.approx(1 / 3) and found[0].b == pytest.approx(2 / 3)
    assert (found[0].n_only_a, found[0].n_only_b, found[0].score.count) == (10, 20, 30)


def test_results_of_other_items_are_refused(results):
    a, b = results("a", 1), results("b", 1, limit=7)
    with pytest.raises(DataError, match="different items or settings"):
        compare_results(a, b)


def test_nothing_in_common(results, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no task in common \(a has t; empty has none\)"):
        compare_results(results("a", 1), tmp_path / "empty")
    with pytest.raises(DataError, match="no such folder"):
        compare_results(tmp_path / "none", tmp_path / "empty")
