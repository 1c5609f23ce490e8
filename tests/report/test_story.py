from pathlib import Path

import pytest

from glasshouse.core.files import read_json, write_json
from glasshouse.core.rundir import RunDirectory
from glasshouse.report import story
from glasshouse.report.records import read_run
from glasshouse.report.story import forecast


def test_the_headline_says_what_was_made_how_good_and_how_long(finished_run: RunDirectory) -> None:
    headline = story.headline(read_run(finished_run))
    assert headline.lead == (
        "An assistant of 2.56 M parameters, grown from the Python 3.11 standard library in 7 min 21 s on 2 cores."
    )
    assert [figure.value for figure in headline.figures] == ["93 %", "94 %", "3 %", "7 min 21 s", "2.4 Wh"]
    assert headline.figures[1].range == "93–96" and "estimated" in headline.figures[-1].label
    assert headline.command == "glass chat runs/quickstart" and headline.status == ""


def test_phrasings_of_development_stand_beside_the_unseen_ones(finished_run: RunDirectory) -> None:
    """What nobody tuned by is the headline and the verdict; every part of the evaluation has a bar of its own."""
    path = finished_run.path / "evals" / "sft.json"
    rates = [("wrong", 0.01, 1500), ("refused_known", 0.02, 1500), ("honest_refusal", 0.92, 500)]
    silent = [{"name": "honest_refusal", "value": 0.9, "low": 0.85, "high": 0.94, "count": 581}]
    development = [{"name": n, "value": v, "low": v, "high": v, "count": c} for n, v, c in rates]
    write_json(path, {**read_json(path), "development": {"scores": development}, "unrecited": {"scores": silent}})
    trust = story.trust(read_run(finished_run))
    assert trust is not None and "about one answer in 29 is wrong" in trust.verdict
    assert [title for title, _ in trust.bars] == [
        "Asked about 2,304 things that exist",
        "Asked about 900 names that do not exist",
        "Asked about 1,500 things that exist, in phrasings that its teaching was improved by",
        "Asked about 500 names that do not exist, in phrasings that its teaching was improved by",
        "Asked about 62 real names it was never taught",
        "Asked for 581 signatures it was not taught",
    ]


def test_trust_is_worked_out_from_what_is_asserted(finished_run: RunDirectory) -> None:
    trust = story.trust(read_run(finished_run))
    assert trust is not None
    assert "about one answer in 29 is wrong" in trust.verdict  # 0.034 / (1 - 0.029)
    assert "about one time in 18" in trust.verdict  # 1 - 0.944
    assert [sum(part.share for part in parts) for _, parts in trust.bars] == pytest.approx([100, 100, 100])
    assert [(group.count, len(group.examples)) for group in trust.groups] == [(78, 5), (50, 5), (67, 5)]


def test_the_surest_faults_come_first(finished_run: RunDirectory) -> None:
    path = finished_run.path / "evals" / "sft.json"
    result = read_json(path)
    wrong = [item for item in result["items"] if item["outcome"] == "wrong"]
    wrong[40]["logp_sum"], wrong[40]["text"] = -0.001, "certain"
    write_json(path, result)
    trust = story.trust(read_run(finished_run))
    assert trust is not None and trust.groups[0].examples[0].said == "certain"


def test_panels_show_each_stage_and_the_finer_scores_apart(finished_run: RunDirectory) -> None:
    panels = {panel.title: panel for panel in story.score_panels(read_run(finished_run))}
    exact = panels["Right answers, word for word"]
    assert [(row.label, row.value) for row in exact.rows] == [("pretrain", "0.2 %"), ("sft", "93 %")]
    assert [row.is_last for row in exact.rows] == [False, True] and exact.rows[-1].at == pytest.approx(93)
    assert not panels["Right answers, case and punctuation aside"].is_main
    bits = panels["Bits a byte of text held back"].rows
    assert 0 < bits[0].at < bits[1].at < 100  # its own scale


def test_costs_add_up_to_the_whole_time(finished_run: RunDirectory) -> None:
    rows = story.costs(read_run(finished_run))
    assert rows[-1].is_total and rows[-1].time == "7 min 21 s"
    assert sum(row.seconds for row in rows[:-1]) == pytest.approx(rows[-1].seconds)
    assert rows[-2].stage == "everything else"


def test_predictions_beside_what_happened(finished_run: RunDirectory) -> None:
    rows = {row.what: row for row in story.comparisons(read_run(finished_run))}
    assert rows["whole time"].difference == "−4 %" and rows["whole time"].is_near
    assert rows["· evals"].predicted == "43 s" and rows["· evals"].actual == "41 s"
    assert rows["bits a byte"].actual == "0.93"


def test_a_bad_prediction_stays_on_the_track() -> None:
    row = forecast._comparison("x", 1.0, 9.0, str)
    assert row.at == 100 and not row.is_near and row.difference == "+800 %"


def test_own_text_is_named_by_its_files_and_claims_nothing_about_phrasings(finished_run: RunDirectory) -> None:
    path = finished_run.path / "corpus" / "summary.json"
    summary = read_json(path)
    summary["sources"] = {f"/home/me/texts/{name}.txt": {"n_documents": 1, "n_bytes": 10} for name in "abcd"}
    write_json(path, summary)
    records = read_run(finished_run)
    assert "grown from a.txt, b.txt, c.txt and 1 more" in story.headline(records).lead
    trust = story.trust(records)
    assert trust is not None and trust.basis == ""
    assert "new ways" not in story.headline(records).figures[0].label


def test_an_empty_run_has_nothing_to_say(tmp_path: Path) -> None:
    records = read_run(RunDirectory(tmp_path / "none"))
    assert story.trust(records) is None and story.corpus(records) is None and story.kind_panel(records) is None
    assert story.costs(records) == story.comparisons(records) == story.samples(records) == []
    assert story.headline(records).command == ""


def test_recipe_lines_are_split_from_the_note_on_their_origin(finished_run: RunDirectory) -> None:
    lines = dict(story.provenance(read_run(finished_run)).recipe)
    assert lines["steps = 640"] == "derived from dial.time"
    assert lines["[dial]"] == ""


def test_removed_documents_are_told_by_reason_with_examples(finished_run: RunDirectory) -> None:
    corpus = story.corpus(read_run(finished_run))
    assert corpus is not None
    groups = {group.title: group for group in corpus.groups}
    assert (groups["e-mail addresses"].action, groups["e-mail addresses"].count) == ("changed", 9)
    assert len(groups["IP addresses"].examples) == 2 and len(groups["e-mail addresses"].examples) == 6
    assert groups["the same text as another document"].examples[0]["reason"] == "duplicate: stdlib/source/other.py"


def test_samples_are_grouped_by_their_beginning(finished_run: RunDirectory) -> None:
    groups = story.samples(read_run(finished_run))
    assert [(g.stage, g.prompt, g.is_first) for g in groups] == [
        ("pretrain", "def copytree(", True),
        ("pretrain", "import ", False),
        ("sft", "What does `shutil.copytree` do?", True),
    ]
    assert [row.when for row in groups[0].rows] == ["2 %", "25 %", "50 %", "75 %", "100 %"]
    assert groups[0].rows[-1].quality.endswith("bits/byte") and groups[2].rows[-1].quality.startswith("loss")
