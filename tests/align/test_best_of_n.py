import json
import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from judged import write_parent

from glasshouse.align.best_of_n import BestOfNConfig, best_of_n, expected_best, kl_bound, reward_curve, run_best_of_n
from glasshouse.align.rewards import Exchange
from glasshouse.checkpoint import load_model
from glasshouse.core.errors import DataError
from glasshouse.core.records import Question
from glasshouse.core.terminal import Terminal
from glasshouse.infer import Engine

QUESTIONS = [Question(letter, f"{letter}?", ("a",)) for letter in "abc"]
CONFIG = BestOfNConfig(n=6, max_tokens=4, seed=3)


class ShareOfA:
    name = "share of a"

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        return [e.answer.count("a") / max(1, len(e.answer)) for e in exchanges]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(*load_model(write_parent(tmp_path_factory.mktemp("parent") / "checkpoint")))


def test_the_best_is_chosen(engine: Engine) -> None:
    found = best_of_n(engine, QUESTIONS, ShareOfA(), CONFIG)
    assert [c.prompt.question for c in found] == QUESTIONS and {len(c.answers) for c in found} == {6}
    for candidates in found:
        assert candidates.best.reward == max(a.reward for a in candidates.answers)
        assert candidates.first is candidates.answers[0]
        assert len({a.answer for a in candidates.answers}) > 1  # each answer has a seed of its own
    assert best_of_n(engine, QUESTIONS, ShareOfA(), CONFIG) == found


def test_expected_best_by_hand() -> None:
    rewards = [0.3, -1.0, 2.0, 2.0, 0.0]
    for k in range(1, 6):
        every = [max(chosen) for chosen in combinations(rewards, k)]
        assert expected_best(rewards, k) == pytest.approx(sum(every) / len(every))
    assert expected_best([0, 0, 1], 2) == pytest.approx(2 / 3)


def test_kl_bound() -> None:
    """Exact for continuous rewards: the best of n has density n u^(n-1) at quantile u, and KL = E[ln(n u^(n-1))]."""
    n, cells = 4, 10_000
    quantiles = [(i + 0.5) / cells for i in range(cells)]
    kl = sum(n * u ** (n - 1) * math.log(n * u ** (n - 1)) for u in quantiles) / cells
    assert kl_bound(n) == pytest.approx(kl, abs=1e-5) and kl_bound(1) == 0


def test_summary(engine: Engine, tmp_path: Path) -> None:
    curve = run_best_of_n(engine, QUESTIONS, ShareOfA(), CONFIG, folder=tmp_path, terminal=Terminal(is_quiet=True))
    assert [point.n for point in curve] == [1, 2, 4, 6]
    assert all(a.reward <= b.reward for a, b in pairwise(curve))
    assert all(point.low <= point.reward <= point.high for point in curve)
    record = json.loads((tmp_path / "align.json").read_text())
    assert record["method"] == "best_of_n" and record["n_answers"] == 18
    assert record["reward_after"] == curve[-1].reward and record["kl"] == kl_bound(6)
    rises = [s["reward_after"] - s["reward_before"] for s in record["samples"]]
    assert rises == sorted(rises, reverse=True) and rises[0] > 0


def test_best_of_all_is_the_last_point(engine: Engine) -> None:
    found = best_of_n(engine, QUESTIONS, ShareOfA(), CONFIG)
    assert reward_curve(found)[-1].reward == pytest.approx(sum(c.best.reward for c in found) / 3)


def test_no_prompts(engine: Engine) -> None:
    with pytest.raises(DataError, match="there are no prompts"):
        best_of_n(engine, [], ShareOfA(), CONFIG)
