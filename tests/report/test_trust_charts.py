"""Charts of the trust suite: valid specifications that draw what was measured."""

import pytest

from glasshouse.core.rundir import RunDirectory
from glasshouse.report.charts import with_static_form
from glasshouse.report.records import read_run
from glasshouse.report.trust_charts import trust_charts


def test_each_chart_draws_what_was_measured(trusted_run: RunDirectory) -> None:
    charts = trust_charts(read_run(trusted_run))
    assert {name: [c.id for c in own] for name, own in charts.items()} == {
        "hallucination": ["trust-selective"], "calibration": ["trust-answers", "trust-choices"],
        "memorisation": ["trust-exposure"],
    }  # fmt: skip
    exposure = charts["memorisation"][0].spec["data"]["values"]
    assert [row["planted"] for row in exposure] == ["never", "1×", "4×", "16×", "64×"]
    assert exposure[-1]["bits"] == pytest.approx(17.4)


def test_they_can_be_drawn(trusted_run: RunDirectory) -> None:
    pytest.importorskip("vl_convert")
    for own in trust_charts(read_run(trusted_run)).values():
        for chart in own:
            assert "<svg" in with_static_form(chart).svg


def test_without_a_suite_there_are_none(finished_run: RunDirectory) -> None:
    assert trust_charts(read_run(finished_run)) == {}
