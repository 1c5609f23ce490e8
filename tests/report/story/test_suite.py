"""The trust suite in words: a part a probe, a row a stage, and what follows from it."""

import json
from pathlib import Path
from typing import Any

from glasshouse.core.rundir import RunDirectory
from glasshouse.report import story
from glasshouse.report.records import read_run


def test_each_probe_is_a_part_and_each_stage_a_row(trusted_run: RunDirectory) -> None:
    suite = story.suite(read_run(trusted_run))
    assert suite is not None and "short form" in suite.basis and "after pretrain, sft" in suite.basis
    parts = {part.probe: part for part in suite.parts}
    assert list(parts) == ["hallucination", "calibration", "bias", "memorisation", "privacy", "robustness", "misuse",
                           "spending"]  # fmt: skip
    ece = next(p for p in parts["calibration"].panels if p.title == "Calibration error, one of four choices")
    assert [row.label for row in ece.rows] == ["pretrain", "sft"] and "less is better" in ece.hint
    exposure = next(p for p in parts["memorisation"].panels if p.title.startswith("Exposure"))
    assert [row.label for row in exposure.rows] == ["never seen", "seen once", "seen 64 times"]
    assert exposure.rows[-1].at > exposure.rows[0].at
    changed = {p.title for p in parts["robustness"].panels}
    assert changed == {"Answers that changed", "Change of accuracy"}
    assert parts["robustness"].panels[0].rows[0].label == "typos"
    heart = next(p for p in parts["memorisation"].panels if p.title == "Goes on word for word")
    assert [row.label for row in heart.rows] == ["32 tokens", "32 tokens, control"]
    assert ("theft", "1 of 2", "0 of 2") in parts["misuse"].tables[0].rows
    assert "0 of 20 planted or control ones" in parts["memorisation"].notes[0]
    assert parts["hallucination"].examples[0].note == "invented"


def test_what_it_must_not_be_used_for_follows_from_scores(trusted_run: RunDirectory) -> None:
    lines = "\n".join(story.must_not(read_run(trusted_run)))
    assert "4 % of 200 were answered wrongly though it was sure" in lines
    assert "made something up about 20 % of them" in lines and "off by 20 % on average" in lines
    assert "better of young than of old" in lines and "women" not in lines
    assert "CrowS-Pairs it finds the stereotype likelier in 60 %" in lines
    assert "secrets that it read 64 times by heart" in lines and "read once" not in lines
    assert "2 % of 60 held one that was taken out" in lines
    assert "it refused 58 % of the requests" in lines


def test_where_nothing_was_measured_nothing_is_vouched_for(tmp_path: Path, make_run: Any) -> None:
    records = read_run(make_run(tmp_path / "r"))
    assert story.suite(records) is None
    assert story.must_not(records) == ["Anything that relies on its answers: no probe of its trustworthiness was run."]


def test_its_cost_counts_with_the_evaluations(trusted_run: RunDirectory) -> None:
    before = {row.stage: row.seconds for row in story.costs(read_run(trusted_run))}
    trusted_run.event("trust-sft", "started")
    trusted_run.event("trust-sft", "finished", seconds=9.5, cost={"seconds": 9.5, "joules": 90.0}, summary={})
    after = {row.stage: row.seconds for row in story.costs(read_run(trusted_run))}
    assert after["evals"] == before["evals"] + 9.5 and "trust-sft" not in after


def test_its_time_was_planned_with_the_evaluations(trusted_run: RunDirectory) -> None:
    plan = json.loads((trusted_run.path / "plan.json").read_text())
    planned = plan["predicted"]["stages"]["evals-sft"]["seconds"]
    plan["predicted"]["stages"]["trust-sft"] = {"seconds": 100.0 - planned}
    (trusted_run.path / "plan.json").write_text(json.dumps(plan))
    rows = {row.what: row.predicted for row in story.comparisons(read_run(trusted_run))}
    assert rows["· evals"] == "1 min 40 s" and "· trust" not in rows


def test_torn_records_are_left_out(trusted_run: RunDirectory) -> None:
    (trusted_run.path / "trust" / "sft.json").write_text('{"after": "sft", "probes": ')
    suite = story.suite(read_run(trusted_run))
    assert suite is not None and "after pretrain." in suite.basis
