import altair
import pytest

from glasshouse.core.files import read_json, write_json
from glasshouse.core.rundir import RunDirectory
from glasshouse.report import charts
from glasshouse.report.records import read_run
from glasshouse.report.reward_charts import reward_charts


def test_learning_curve_and_reliability_are_valid(reward_run: RunDirectory) -> None:
    learning, reliability = reward_charts(read_run(reward_run))
    for chart in (learning, reliability):
        altair.Chart.from_dict(chart.spec, validate=True)  # raises where Vega-Lite would not understand it
        assert chart.spec["params"] == [{"name": "x_axis", "value": "tokens"}]  # the page sets it on every chart
    assert [row["pairs"] for row in learning.spec["data"]["values"]] == [250, 500, 1_000]
    assert learning.spec["data"]["values"][0]["low"] == pytest.approx(0.49)
    assert len(reliability.spec["data"]["values"]) == 5


def test_without_held_out_pairs_there_is_nothing_to_draw(reward_run: RunDirectory) -> None:
    path = reward_run.path / "reward" / "reward.json"
    curve = [{"n_trained": 1_000, "quality": None}]
    write_json(path, {**read_json(path), "quality": None, "learning_curve": curve})
    assert reward_charts(read_run(reward_run)) == []


def test_curves_of_learning_from_judgements(aligned_run: RunDirectory) -> None:
    align = charts.training_charts(read_run(aligned_run))[-1]
    assert align.stage == "align"
    found = {chart.title: chart for chart in (align.main, *align.small)}
    assert list(found) == [
        "Loss", "Pairs ranked as they were judged", "Margin: preferred less other, in nats", "Implicit reward",
    ]  # fmt: skip
    for chart in found.values():
        altair.Chart.from_dict(chart.spec, validate=True)
    assert found["Pairs ranked as they were judged"].note == "dots: held back"
    lines = [
        layer["mark"]["color"] for layer in found["Implicit reward"].spec["layer"] if layer["mark"]["type"] == "line"
    ]
    assert lines == ["var(--leaf)", "var(--bloom)"]
