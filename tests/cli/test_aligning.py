"""`glass align` and `glass reward` on a model of a few hundred parameters."""

import json
import sys
from pathlib import Path

import pytest

from glasshouse.cli.main import main

sys.path.insert(0, str(Path(__file__).parents[1] / "align"))
from judged import preferences, write_parent

SMALL = ["--set", "batch_tokens=400", "--set", "epochs=0.3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint `parent`, and files of what people preferred."""
    folder = tmp_path_factory.mktemp("align")
    write_parent(folder / "parent")
    given = preferences(24)
    same = {"prompt": "a?", "chosen": "b", "rejected": "b"}
    pairs = [{"prompt": p.prompt[0].content, "chosen": p.chosen, "rejected": p.rejected} for p in given]
    thumbs = [{"prompt": p.prompt[0].content, "completion": p.chosen, "label": i % 2 == 0} for i, p in enumerate(given)]
    for name, records in {
        "pairs": [*pairs, same],
        "thumbs": thumbs,
        "same": [same],
        "neither": [{"text": "a"}],
    }.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def align(folder, tmp_path, file, *options):
    main(["align", str(folder / "parent"), "--preferences", str(folder / file), "--out", str(tmp_path / "run"),
          *SMALL, *options])  # fmt: skip
    return tmp_path / "run"


def test_dpo_leaves_a_run_with_a_model(folder, tmp_path, capsys):
    run = align(folder, tmp_path, "pairs.jsonl")
    assert (run / "model" / "config.json").is_file()
    assert json.loads((run / "align" / "align.json").read_text())["method"] == "dpo"
    shown = " ".join(capsys.readouterr())
    assert "25: chosen and rejected are the same text" in shown and "24 judged records" in shown


@pytest.mark.parametrize("file", ["pairs.jsonl", "thumbs.jsonl"])
def test_kto_takes_thumbs_and_pairs(folder, tmp_path, file):
    run = align(folder, tmp_path, file, "--method", "kto")
    assert json.loads((run / "align" / "align.json").read_text())["method"] == "kto"


def test_reward_leaves_a_reward_model_and_how_good_it_is(folder, tmp_path, capsys):
    out = tmp_path / "run"
    main(["reward", str(folder / "parent"), "--preferences", str(folder / "pairs.jsonl"), "--out", str(out), *SMALL])
    assert "SequenceClassification" in (out / "reward" / "checkpoint" / "config.json").read_text()
    assert json.loads((out / "reward" / "reward.json").read_text())["quality"]["accuracy"]["count"] == 2
    assert "held-out pairs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--preferences", "same.jsonl"], 3, "same text"),
        (["--preferences", "neither.jsonl"], 3, "neither.jsonl"),
        (["--preferences", "neither.jsonl", "--method", "kto"], 3, "neither.jsonl"),
        (["--preferences", "missing.jsonl"], 3, "missing.jsonl"),
        (["--preferences", "pairs.jsonl", "--method", "rlhf"], 2, "dpo, kto, grpo, ppo"),
        (["--preferences", "pairs.jsonl", "--method", "grpo"], 2, "--questions"),
        (["--questions", "pairs.jsonl"], 2, "--preferences"),
        (["--preferences", "pairs.jsonl", "--set", "dpo.bta=1"], 2, 'Did you mean "beta"?'),
        (
            ["--preferences", "pairs.jsonl", "--set", "kto.beta=1"],
            2,
            "the method is dpo",
        ),
        (["--preferences", "pairs.jsonl", "--set", "seq_len=1"], 3, "seq_len=1"),
    ],
)
def test_bad_commands_are_refused_in_words(folder, tmp_path, monkeypatch, capsys, arguments, code, words):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as stop:
        main(["align", "parent", *arguments, "--out", str(tmp_path / "run")])
    captured = capsys.readouterr()
    assert stop.value.code == code and words in " ".join((captured.out + captured.err).split())
