"""A life on somebody's own folder of text: it is taught what stands there, and judged on it."""

import json
from pathlib import Path

import pytest

from glasshouse.cli.main import main
from glasshouse.core.rundir import RunDirectory

TRADES = ("miller", "smith", "baker", "weaver", "carter", "tailor", "potter", "cooper", "mason", "fisher")


def guide(trade: str, number: int) -> str:
    chapters = "\n\n".join(
        f"## {title} of the {trade}\n\nA {trade} {verb} {number + n + 2} times a day, and more in {season}.\n\n"
        f"Then the {trade} rests for {n + 1} hours, and in {season} a little longer than that. " * 2
        for n, (title, verb, season) in enumerate(
            [
                ("The Tools", "sharpens the tools", "spring"),
                ("The Work", "begins anew", "summer"),
                ("The Pay", "counts the coins", "autumn"),
            ]
        )
    )
    return f"# A guide to being a {trade}\n\nEvery {trade} has learned it from another one.\n\n{chapters}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    for number, trade in enumerate(TRADES):
        (folder / f"{trade}.md").write_text(guide(trade, number))
        (folder / f"{trade}.py").write_text(
            f'def visit_{trade}(when, how="on foot"):\n    """Go to the {trade} and bring {number} things home."""\n'
        )
    return folder


def test_a_whole_life_on_a_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--set", f'corpus.sources=["{folder}"]', "--set", "corpus.holdout_fraction=0.2"]
    main(["run", "tiny/own-text", "--out", str(tmp_path / "r"), *settings])
    run = RunDirectory(tmp_path / "r")
    finished = [e["stage"] for e in run.events() if e["kind"] == "finished"]
    assert finished == [
        "corpus", "tokenizer", "pretrain", "evals-pretrain", "trust-pretrain", "sft", "evals-sft", "trust-sft",
    ]  # fmt: skip
    results = json.loads((run.path / "evals" / "sft.json").read_text())
    scores = {s["name"] for s in results["scores"]}
    assert {"bits_per_byte", "exact", "wrong", "refused_known", "honest_refusal"} <= scores
    kinds = {item["kind"] for item in results["items"]}
    assert {"summary", "section"} <= kinds
    assert "facts of your text taught" in capsys.readouterr().out
    assert (run.path / "report.html").is_file()


def test_a_text_without_facts_is_refused_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").mkdir()
    for number in range(40):
        (tmp_path / "text" / f"{number}.txt").write_text(f"{number} apples\n{number + 1} pears\n" * 200)
    with pytest.raises(SystemExit) as stop:
        main(["run", "tiny/own-text", "--out", str(tmp_path / "r"), "--set", f'corpus.sources=["{tmp_path / "text"}"]'])
    shown = " ".join(capsys.readouterr().err.split())
    assert stop.value.code not in (0, None) and "needs at least 20 facts" in shown and "chats.jsonl" in shown
    assert not (tmp_path / "r" / "pretrain").exists()
