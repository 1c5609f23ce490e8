"""Rows of a result measured again alone keep the others as they were, with their own date and commit."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import record
from record import Figure, kept_figures, replace_figures, write_result


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    write_result("speed", [Figure("a", 1, "s", "<= 2", True), Figure("b", 2, "s")])
    path = tmp_path / "speed.json"
    result = json.loads(path.read_text())
    for row in result["figures"]:  # as results were before rows had a date
        del row["date"], row["commit"]
    path.write_text(json.dumps({**result, "date": "2026-01-02", "commit": "abc"}))
    return path


def test_only_what_was_measured_again_is_new(results: Path) -> None:
    write_result("speed", replace_figures(kept_figures("speed"), [Figure("b", 3, "s"), Figure("c", 4, "s")]))
    result = json.loads(results.read_text())
    assert [(row["what"], row["value"]) for row in result["figures"]] == [("a", 1), ("b", 3), ("c", 4)]
    old, *new = ((row["date"], row["commit"]) for row in result["figures"])
    assert old == ("2026-01-02", "abc")
    assert new == [(result["date"], result["commit"])] * 2 and result["date"] > "2026-01-02"


def test_a_row_says_on_which_processor_it_was_measured(results: Path) -> None:
    result = json.loads(results.read_text())
    for row in result["figures"]:
        del row["processor"]  # as results were before rows had one
    results.write_text(json.dumps({**result, "machine": {**result["machine"], "processor": "another"}}))
    write_result("speed", replace_figures(kept_figures("speed"), [Figure("b", 3, "s")]))
    result = json.loads(results.read_text())
    assert [row["processor"] for row in result["figures"]] == ["another", result["machine"]["processor"]]
