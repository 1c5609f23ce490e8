"""`glass align --method best_of_n | rejection` on a model of a few hundred parameters."""

import json
import sys
from pathlib import Path

import pytest

from glasshouse.cli.main import main

sys.path.insert(0, str(Path(__file__).parents[1] / "align"))
from judged import write_parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("by-reward")
    write_parent(folder / "parent")
    questions = [{"id": letter, "prompt": f"{letter}?", "answers": ["a"]} for letter in "abcd"]
    (folder / "questions.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions))
    return folder


def align(folder: Path, out: Path, *options: str) -> dict[str, object]:
    main(["align", str(folder / "parent"), "--questions", str(folder / "questions.jsonl"), "--out", str(out), *options])
    return dict(json.loads((out / "align" / "align.json").read_text()))


def test_best_of_n(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = align(folder, tmp_path, "--method", "best_of_n", "--reward", "length:9", "--set", "n=4")
    assert record["method"] == "best_of_n" and record["n_answers"] == 16
    assert "with the best of 4 on 4 prompts" in capsys.readouterr().out


def test_rejection(folder: Path, tmp_path: Path) -> None:
    options = [
        "--method",
        "rejection",
        "--reward",
        "format:.*",
        "--set",
        "sampling.n=8",
        "--set",
        "sampling.max_tokens=9",
    ]
    record = align(folder, tmp_path, *options, "--set", "epochs=1", "--set", "min_reward=0.5")
    assert record["method"] == "rejection"
    assert (tmp_path / "model" / "config.json").is_file() and (tmp_path / "align" / "kept.jsonl").is_file()


def test_an_unknown_reward(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        align(folder, tmp_path, "--method", "best_of_n", "--reward", "numeric", "--reward", "lenght:9")
    assert exit.value.code == 2 and 'Did you mean "length"?' in capsys.readouterr().err
