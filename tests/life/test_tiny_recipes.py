"""The recipes that come with Glasshouse, run whole as a user runs them: every stage, the report, and what is left."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glasshouse.cli.main import main
from glasshouse.core.rundir import RunDirectory
from glasshouse.run.find import RECIPE_FOLDERS, find_recipe

GLASS = [sys.executable, "-m", "glasshouse.cli.main"]
WHO = [
    ("old", "miller", "river", "stone"),
    ("young", "smith", "market", "apple"),
    ("tall", "clerk", "office", "letter"),
]
TEXT = "\n\n".join(
    f"Chapter {n}. The {a} {b} went to the {c} and found {n + 3} {d}s there, which was {n % 7} more than before."
    for n in range(60)
    for a, b, c, d in WHO
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for number in range(6):
        (folder / f"part{number}.txt").write_text(
            TEXT.replace("went", ("ran", "flew", "sailed", "drove", "crept", "came")[number])
        )
    return folder


def on(text: Path) -> list[str]:
    return ["--set", f'corpus.sources=["{text}"]']


def test_every_recipe_is_valid() -> None:
    from glasshouse.run.resolve import load_draft

    names = list(RECIPE_FOLDERS[0].rglob("*.toml"))
    assert len(names) >= 5
    for path in names:
        load_draft(find_recipe(str(path)))


def _trace(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    """Every stage left its index: a sentence of the library is found in its file, and near what was taught of it."""
    sentence = "Recursively copy a directory tree and return the destination directory."
    asked = ["trace", sentence, "--run", str(run.path), "--prompt", "What does shutil.copytree do?"]
    main(asked)
    shown = capsys.readouterr().out
    assert "stdlib:shutil.py:" in shown and "nearest examples of sft" in shown and "nearest examples of align" in shown
    main([*asked, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["p_covered"] == 1 and "copytree" in found["nearest"]["sft"][0]["example"]["prompt"]
    main(["trace", sentence[:28], "--run", str(run.path), "--next", "--json"])
    following = json.loads(capsys.readouterr().out)
    assert following["count"] >= 1 and following["next"][0]["p_training"] > 0
    assert sum(row["p_model"] is not None for row in following["next"]) >= 5
    shutil.rmtree(run.path / "pretrain" / "trace")
    shutil.rmtree(run.path / "sft" / "examples")
    main(["index", str(run.path)])
    assert "training tokens indexed" in capsys.readouterr().out
    main([*asked, "--json"])
    assert json.loads(capsys.readouterr().out) == found


@pytest.mark.parametrize("recipe", ["tiny/pretrain", "tiny/characters"])
def test_half_a_life(recipe: str, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", recipe, "--out", str(tmp_path / "r"), *on(text)])
    run = RunDirectory(tmp_path / "r")
    assert (run.model_path / "config.json").is_file()
    assert (run.path / "report.html").is_file() and (run.path / "MODEL_CARD.md").is_file()
    main(["generate", str(run.path), "The old", "--max-tokens", "5"])
    assert "The old" in capsys.readouterr().out


def test_a_whole_life_on_the_standard_library(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["run", "tiny/life", "--out", str(tmp_path / "r")])
    run = RunDirectory(tmp_path / "r")
    finished = [e["stage"] for e in run.events() if e["kind"] == "finished"]
    assert finished == [
        "corpus", "tokenizer", "pretrain", "evals-pretrain", "trust-pretrain", "sft", "evals-sft", "trust-sft", "align",
        "evals-align", "trust-align",
    ]  # fmt: skip
    for stage in ("sft", "align"):
        scores = {s["name"] for s in json.loads((run.path / "evals" / f"{stage}.json").read_text())["scores"]}
        assert {"bits_per_byte", "exact", "wrong", "refused_known", "honest_refusal"} <= scores
        probes = json.loads((run.path / "trust" / f"{stage}.json").read_text())["probes"]
        assert all(probe["scores"] for probe in probes.values())
        assert "exposure: seen 4 times" in {score["name"] for score in probes["memorisation"]["scores"]}
    learned = json.loads((run.path / "align" / "align.json").read_text())
    assert learned["n_asked"] == sum(learned["sampled"].values()) == 40
    assert learned["n_learned"] == sum(learned["preferences"].values())
    assert run.model_path.resolve().is_relative_to((run.path / "align").resolve())
    shown = capsys.readouterr().out
    assert "predicted" in shown and "talk to it:  glass chat" in shown
    _trace(run, capsys)
    main(["run", "tiny/life", "--out", str(tmp_path / "r")])
    assert capsys.readouterr().out.count("unchanged, not run again") == 11
    main(["trust", str(run.path), "--probes", "misuse"])
    assert "refused_harmless" in capsys.readouterr().out
    lines = iter(["What is json?", "/history", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt="": next(lines))
    main(["chat", str(run.path), "--max-tokens", "4"])
    shown = capsys.readouterr().out
    assert "each is asked afresh" in shown and "user: What is json?" in shown


def test_a_corpus_too_small_for_the_plan_says_what_would_fit(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    (small / "a.txt").write_text("Only a few words stand here, and no more than that.\n" * 40)
    with pytest.raises(SystemExit) as stop:
        main(["run", "tiny/pretrain", "--out", str(tmp_path / "r"), *on(small), "--set", "pretrain.steps=5000"])
    assert stop.value.code == 3
    assert "too small" in (shown := capsys.readouterr().err) and "would fit" in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on_and_does(text: Path, tmp_path: Path, number: int) -> None:
    out = tmp_path / "r"
    command = [*GLASS, "run", "tiny/pretrain", "--out", str(out), *on(text), "--set", "pretrain.steps=100000",
               "--set", "pretrain.max_epochs=1e9"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while not (out / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, number)
    shown, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, shown
    assert f"glass resume {out}" in " ".join(shown.split()), shown
    assert list((out / "pretrain" / "checkpoints").glob("step-*"))
    if number == signal.SIGTERM:
        return  # what is left on disk is the same, and goes on in the same way
    again = subprocess.Popen([*GLASS, "resume", str(out)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    assert again.stdout is not None
    for line in again.stdout:
        lines.append(line)
        if "goes on from step" in line:
            break
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    assert "goes on from step" in "".join(lines)
