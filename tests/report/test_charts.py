from pathlib import Path

import altair
import pytest

from glasshouse.core.errors import MissingExtraError
from glasshouse.core.rundir import RunDirectory
from glasshouse.report import charts
from glasshouse.report.records import StageRecord, read_run


def test_each_stage_of_training_has_valid_charts(finished_run: RunDirectory) -> None:
    stages = charts.training_charts(read_run(finished_run))
    assert [stage.stage for stage in stages] == ["pretrain", "sft"]
    assert [stage.main.title for stage in stages] == ["Bits per byte", "Loss (nats a token)"]
    for stage in stages:
        assert [chart.title for chart in stage.small] == ["Learning rate", "Tokens a second"]
        for chart in (stage.main, *stage.small):
            altair.Chart.from_dict(chart.spec, validate=True)  # raises where Vega-Lite would not understand it
            assert len(chart.spec["data"]["values"]) <= charts.MAX_POINTS


def test_thinning_keeps_the_mean_and_the_ends() -> None:
    rows = [{"tokens": float(i), "minutes": 0.0, "loss": float(i)} for i in range(1000)]
    thinned = charts.thin(rows, "loss", 100)
    assert len(thinned) == 100
    assert sum(row["loss"] for row in thinned) / 100 == pytest.approx(499.5)
    assert charts.thin(rows[:7], "loss", 100) == rows[:7]


def test_tokens_come_from_the_summary(finished_run: RunDirectory) -> None:
    (pretrain, _) = charts.training_charts(read_run(finished_run))
    assert pretrain.main.spec["layer"][-1]["data"]["values"][-1]["tokens"] == pytest.approx(640 * 4096 / 1e6, rel=0.01)


def test_static_form_is_drawn_without_what_one_points_at(finished_run: RunDirectory) -> None:
    charted = charts.with_static_forms(charts.training_charts(read_run(finished_run))[0])
    assert charted.main.svg.startswith("<svg") and "var(--leaf)" in charted.main.svg
    assert len(charted.main.svg) < 40_000


def test_the_script_is_bundled_once_and_made_again_when_altered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Converter:
        __version__ = "1"
        n_calls = 0

        def javascript_bundle(self) -> str:
            self.n_calls += 1
            return 'window.x="</script>"'

    converter = Converter()
    monkeypatch.setenv("GLASSHOUSE_CACHE", str(tmp_path))
    monkeypatch.setattr(charts, "require", lambda *_: converter)
    first = charts.javascript()
    assert "</script" not in first
    assert charts.javascript() == first and converter.n_calls == 1
    (tmp_path / "vega-1.js").write_text("alert('someone else wrote this')")
    assert charts.javascript() == first and converter.n_calls == 2


def test_without_the_extra_there_is_no_script(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: str) -> None:
        raise MissingExtraError("absent")

    monkeypatch.setattr(charts, "require", missing)
    assert charts.javascript() == ""


def test_a_clock_that_is_set_back_takes_no_time_away() -> None:
    times = {1: 100.0, 2: 160.0, 3: 40.0, 4: 100.0}
    curve = [{"step": step, "at": at, "metrics": {"loss": 1.0}} for step, at in times.items()]
    assert [point["minutes"] for point in charts._points(StageRecord("pretrain"), curve)] == [0.0, 1.0, 1.0, 2.0]
