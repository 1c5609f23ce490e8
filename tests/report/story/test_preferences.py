from pathlib import Path

import pytest
from judged_records import write_alignment

from glasshouse.core.files import write_json
from glasshouse.core.rundir import RunDirectory
from glasshouse.report import life, story
from glasshouse.report.records import read_run


def test_what_it_was_taught_with_and_what_became_of_the_scores(aligned_run: RunDirectory) -> None:
    taught = story.taught(read_run(aligned_run))
    assert taught is not None and taught.title == "Taught by preferences" and "By DPO." in taught.how
    assert taught.verdict == (
        "Wrong answers went from 3.4 % to 0.9 % of what it was asked about things that exist. Made-up names were "
        "answered 5.6 % of the time before and 1.1 % after. Right answers went from 93.0 % to 92.9 %. Both times the "
        "questions were the same ones, which no training asked. It agrees with 93 % of 210 judgements held back."
    )
    assert [(sort.label, sort.count, sort.share) for sort in taught.sorts[:2]] == [
        ("true over wrong", "1,200", 100.0),
        ("I do not know over wrong", "600", 50.0),
    ]
    assert taught.sampled is not None
    title, parts = taught.sampled
    assert title == "Asked 1,500 questions, it gave 6,000 answers of its own"
    assert [part.label for part in parts] == ["· 4,100 right", "· 700 refused", "· 900 wrong", "· 300 invented"]
    assert sum(part.share for part in parts) == pytest.approx(100)


def test_panels_stand_before_and_after_with_intervals(aligned_run: RunDirectory) -> None:
    panels = {panel.title: panel for panel in story.preferences.before_and_after(read_run(aligned_run))}
    wrong = panels["Wrong answers, said as if they were true"]
    assert [(row.label, row.value, row.range) for row in wrong.rows] == [
        ("before", "3 %", "2–5"),
        ("after", "0.9 %", "0.5–1.3"),
    ]
    invented = panels["Made-up names, answered as if they existed"].rows  # 1 - honest refusal, its interval turned over
    assert invented[0].at == pytest.approx(5.6) and invented[0].low < invented[0].at < invented[0].high
    assert "less is better · 900 questions" in panels["Made-up names, answered as if they existed"].hint
    never = panels["Names never taught, answered all the same"].rows
    assert [row.value for row in never] == ["29 %", "10 %"]


def test_the_opening_and_the_picture_know_the_last_evaluation(aligned_run: RunDirectory) -> None:
    records = read_run(aligned_run)
    assert [stage.name for stage in records.stages] == ["corpus", "tokenizer", "pretrain", "sft", "align", "evals"]
    assert [result["after"] for result in records.evaluations] == ["pretrain", "sft", "align"]
    figures = {figure.label: figure.value for figure in story.headline(records).figures}
    assert figures["answered wrongly, as if it were true; 3 % before alignment"] == "0.9 %"
    pane = next(pane for pane in life.panes(records) if pane.name == "align")
    assert (pane.key, pane.caption, pane.notes) == ("0.9 %", "wrong answers", ("3 % before", "60 steps"))


def test_an_alignment_by_rewards_in_a_run_of_its_own(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "runs" / "sums").create()
    result = {
        "method": "grpo", "reward": "numeric", "n_prompts": 512, "n_iterations": 100, "n_answers": 12_800,
        "n_judged": 64, "is_held_out": True, "reward_before": 0.28, "reward_after": 0.93, "kl": 0.31,
        "last_iteration": {"gap": None}, "samples": [],
    }  # fmt: skip
    write_json(run.stage("align") / "align.json", result)
    write_json(run.stage("align") / "summary.json", {"steps": 100, "n_tokens": 10_000, "seconds": 90.0})
    for step, gap in ((0, 1e-7), (50, 2.4e-6), (99, 3e-7)):
        run.metric("align", step, {"rollout/reward": 0.5, "rollout/logp_gap_largest": gap})
    records = read_run(run)
    taught = story.taught(records)
    assert taught is not None and taught.title == "Taught by rewards"
    assert taught.verdict == "The mean reward went from 0.28 to 0.93 on 64 questions that it never learned from."
    assert ("moved away from the model before", "0.31 nats a token") in taught.facts
    assert ("sampling and training agree on a token within", "2.4e−06 nats") in taught.facts
    assert taught.panels == [] and taught.sorts == [] and story.changes(records) is None
    headline = story.headline(records)
    assert headline.status == "" and headline.lead == "An assistant, taught by GRPO in 1 min 30 s."
    assert (headline.figures[0].value, headline.figures[0].label) == ("0.93", "mean reward, 0.28 before")
    assert ("0.93", "mean reward") in [(pane.key, pane.caption) for pane in life.panes(records)]


def test_best_of_n_is_shown_by_n(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "best").create()
    curve = [{"n": n, "reward": r, "low": r - 0.5, "high": r + 0.5, "kl_bound": 0.0} for n, r in ((1, -1.0), (4, 2.0))]
    result = {"method": "best_of_n", "n_prompts": 20, "reward_before": -1.0, "reward_after": 2.0, "curve": curve}
    write_json(run.stage("best") / "align.json", result)
    taught = story.taught(read_run(run))
    assert taught is not None and taught.title == "The best of several answers" and taught.chosen_from is not None
    first, last = taught.chosen_from.rows
    assert (first.label, last.label) == ("best of 1", "best of 4")
    assert 0 < first.low < first.at < first.high < last.low < last.high < 100  # below zero is on the track too


def test_a_method_of_the_future_and_half_a_record_are_no_error(finished_run: RunDirectory) -> None:
    write_json(finished_run.stage("align") / "align.json", {"method": "<new>", "samples": [None, {"before": 1}]})
    records = read_run(finished_run)
    taught = story.taught(records)
    assert taught is not None and taught.how.startswith("By <new>.") and taught.verdict == ""
    assert story.rises(records) is None and story.changes(records) is None
    assert story.headline(records).title == "quickstart" and life.panes(records)


def test_an_alignment_that_is_under_way_is_told_as_open(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "now").create()
    run.metric("align", 1, {"loss": 0.69})
    records = read_run(run)
    assert "align began and has no result yet" in story.headline(records).status and story.taught(records) is None


def test_without_alignment_there_is_no_chapter(finished_run: RunDirectory) -> None:
    records = read_run(finished_run)
    assert (
        story.taught(records) is story.changes(records) is story.rises(records) is story.reward_model(records) is None
    )


def test_rewarded_on_preferences_of_its_own_answers_is_taught_by_preferences(finished_run: RunDirectory) -> None:
    write_alignment(finished_run, method="grpo")
    taught = story.taught(read_run(finished_run))
    assert taught is not None and taught.title == "Taught by preferences"
