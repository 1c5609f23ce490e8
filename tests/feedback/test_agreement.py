"""Agreement against an independent implementation, and on cases whose answer is known."""

import random

import krippendorff
import numpy as np
import pytest
from asking import one_answer_items, ranking_items, ranks

from glasshouse.feedback import Campaign, Criterion
from glasshouse.feedback.agreement import Level, Unit, krippendorff_alpha
from glasshouse.feedback.store import FeedbackStore

LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")


def random_units(seed: int, n_units: int = 40, n_people: int = 4, n_values: int = 5) -> list[list[float]]:
    """Noisy judgements of a hidden truth, with gaps; NaN where a person did not judge."""
    draw = random.Random(seed)
    rows = []
    for _ in range(n_units):
        truth = draw.randrange(n_values)
        near = [min(n_values - 1, max(0, truth + draw.choice((-1, 0, 0, 0, 1)))) for _ in range(n_people)]
        rows.append([float(value) if draw.random() < 0.7 else float("nan") for value in near])
    return rows


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", range(4))
def test_alpha_is_that_of_the_package_krippendorff(level: Level, seed: int) -> None:
    rows = random_units(seed)
    units = [Unit(tuple(v for v in row if not np.isnan(v)), i) for i, row in enumerate(rows)]
    score = krippendorff_alpha(units, level)
    expected = krippendorff.alpha(reliability_data=np.array(rows).T, level_of_measurement=level)
    assert score is not None and score.value == pytest.approx(expected, abs=1e-9)
    assert score.low < score.value < score.high


def test_alpha_of_known_cases() -> None:
    perfect = krippendorff_alpha([Unit((1, 1), 0), Unit((2, 2), 1)], "nominal")
    assert perfect is not None and perfect.value == perfect.high == 1 and perfect.low < 0.5  # two units tell little
    surer = krippendorff_alpha([Unit((i % 2, i % 2), i) for i in range(100)], "ordinal")
    assert surer is not None and 0.95 < surer.low < 1
    opposed = krippendorff_alpha([Unit((1, 2), i) for i in range(50)], "nominal")
    assert opposed is not None and opposed.value < -0.9
    draw = random.Random(0)
    chance = krippendorff_alpha([Unit((draw.randrange(2), draw.randrange(2)), i) for i in range(2000)], "nominal")
    assert chance is not None and chance.low < 0 < chance.high and chance.high - chance.low < 0.2


def test_alpha_says_nothing_where_nothing_can_be_said() -> None:
    assert krippendorff_alpha([], "nominal") is None
    assert krippendorff_alpha([Unit((1,), 0), Unit((2,), 1)], "nominal") is None
    assert krippendorff_alpha([Unit((1, 1), 0), Unit((1, 1), 1)], "nominal") is None


def test_an_interval_resamples_items_not_answers() -> None:
    """Ten copies of each unit under its own item tell no more than one: the interval stays as wide."""
    rows = [tuple(v for v in row if not np.isnan(v)) for row in random_units(5)]
    once = krippendorff_alpha([Unit(row, i) for i, row in enumerate(rows)], "ordinal")
    copied = krippendorff_alpha([Unit(row, i) for i, row in enumerate(rows) for _ in range(10)], "ordinal")
    assert once is not None and copied is not None
    assert copied.high - copied.low > 0.9 * (once.high - once.low)


@pytest.fixture
def place(tmp_path: object) -> str:
    """Numbers do not depend on the database."""
    return f"{tmp_path}/labels.db"


def test_agreement_of_a_campaign(store: FeedbackStore) -> None:
    store.create_campaign(Campaign(name="r", kind="ranking", overlap=1), ranking_items(8))
    for name in ("Ada", "Bob", "Eve"):
        store.ensure_annotator(name)
    assert "two or more people; there are 0" in store.agreement("r").note
    for item in store.items("r"):
        for name, places in (("Ada", (1, 2, 3)), ("Bob", (1, 2, 3)), ("Eve", (3, 2, 1))):
            store.submit("r", name, item.id, item.id, ranks(item, *places))
    found = store.agreement("r")
    [alpha] = found.alphas
    shares = {one.name: one.with_others.value for one in found.annotators if one.with_others}
    assert found.n_items == 8 and alpha.count == 24 and alpha.value < 0.2
    assert shares == {"Ada": 0.5, "Bob": 0.5, "Eve": 0.0}


def test_a_rubric_has_an_alpha_for_each_criterion(store: FeedbackStore) -> None:
    rubric = (Criterion(name="helpful"), Criterion(name="safe", low=0, high=1))
    store.create_campaign(Campaign(name="r", kind="rating", overlap=1, rubric=rubric), one_answer_items(6))
    for name in ("Ada", "Bob"):
        store.ensure_annotator(name)
        for i, item in enumerate(store.items("r")):
            scores = {"helpful": 1 + i % 5, "safe": (i + (name == "Bob")) % 2}
            store.submit("r", name, item.id, item.id, {"scores": scores})
    alphas = {score.name: score.value for score in store.agreement("r").alphas}
    assert alphas["helpful"] == 1 and alphas["safe"] < 0


def test_one_value_alone_and_free_text_are_said_so(store: FeedbackStore) -> None:
    store.create_campaign(Campaign(name="t", kind="thumbs", overlap=1), one_answer_items(3))
    store.create_campaign(Campaign(name="e", kind="edit", overlap=1), one_answer_items(3))
    for name in ("Ada", "Bob"):
        store.ensure_annotator(name)
        for item in store.items("t"):
            store.submit("t", name, item.id, "t" + item.id, {"is_good": True})
        for item in store.items("e"):
            store.submit("e", name, item.id, "e" + item.id, {"text": "better"})
    assert store.agreement("t").alphas == () and "one and the same value" in store.agreement("t").note
    assert "free texts" in store.agreement("e").note
    assert store.disagreements("e") == []
