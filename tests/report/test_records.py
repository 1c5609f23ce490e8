from pathlib import Path

import pytest

from glasshouse.core.files import append_jsonl, write_json
from glasshouse.core.rundir import RunDirectory
from glasshouse.report.records import read_run, reasons


def test_everything_of_a_finished_run(finished_run: RunDirectory) -> None:
    records = read_run(finished_run)
    assert [stage.name for stage in records.stages] == ["corpus", "tokenizer", "pretrain", "sft", "evals"]
    assert all(stage.is_finished and stage.seconds for stage in records.stages)
    assert [result["after"] for result in records.evaluations] == ["pretrain", "sft"]
    assert records.is_finished and records.has_model and len(records.samples) == 15


def test_evaluations_after_each_stage_are_one_stage_with_their_costs_summed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path).create()
    for stage, joules in (("evals-pretrain", 5), ("sft", 1), ("evals-sft", 7)):
        run.event(stage, "started")
        run.event(stage, "finished", seconds=joules, cost={"joules": joules, "is_estimated": False})
    stages = read_run(run).stages
    assert [stage.name for stage in stages] == ["sft", "evals"]
    assert stages[-1].cost["joules"] == 12 and stages[-1].seconds == 12 and not stages[-1].cost["is_estimated"]


def test_an_empty_directory_is_an_empty_run(tmp_path: Path) -> None:
    records = read_run(RunDirectory(tmp_path / "absent"))
    assert records.stages == () and records.evaluations == () and not records.is_finished


def test_damaged_files_hide_only_themselves(finished_run: RunDirectory) -> None:
    (finished_run.path / "tokenizer" / "summary.json").write_text('{"kind": "bp')
    with (finished_run.path / "metrics.jsonl").open("a") as file:
        file.write("not json\n")
    records = read_run(finished_run)
    assert records.stage("tokenizer") is not None
    assert len(records.curves["pretrain"]) == 640


def test_steps_done_again_after_a_resume_count_once(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path).create()
    for step, loss in ((1, 9.0), (2, 8.0), (3, 7.0), (2, 6.0), (3, 5.0)):
        run.metric("pretrain", step, {"loss": loss})
    run.metric("pretrain", 3, {"eval/loss": 4.0})
    curve = read_run(run).curves["pretrain"]
    assert [(r["step"], r["metrics"]["loss"]) for r in curve] == [(1, 9.0), (2, 6.0), (3, 5.0)]
    assert curve[-1]["metrics"]["eval/loss"] == 4.0


def test_an_interruption_counts_until_the_run_goes_on(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path).create()
    run.event("pretrain", "started")
    run.event("pretrain", "interrupted", step=7)
    interruption = read_run(run).interruption
    assert interruption is not None and interruption["stage"] == "pretrain"
    run.event("pretrain", "finished", seconds=1.0)
    assert read_run(run).interruption is None


def test_results_without_scores_are_left_out(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path).create()
    write_json(run.stage("evals") / "pretrain.json", {"after": "pretrain", "scores": []})
    append_jsonl(run.path / "events.jsonl", {"stage": "evals", "kind": "started"})
    assert read_run(run).evaluations == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 email, 1 ip", ["email", "ip"]),
        ("1 composed characters", ["composed characters"]),
        ("duplicate: stdlib/source/a, b.py", ["duplicate"]),
        ("", [""]),
    ],
)
def test_the_reasons_that_a_record_gives(text: str, expected: list[str]) -> None:
    assert reasons(text) == expected


def test_a_run_elsewhere_is_named_by_its_path(tmp_path: Path) -> None:
    assert read_run(RunDirectory(tmp_path / "runs" / "a").create()).path == "runs/a"
    assert read_run(RunDirectory(tmp_path / "b").create()).path == str(tmp_path / "b")
