"""`glass align` and `glass reward` on a model of a few hundred parameters."""

import json
import re
import signal
import sys
from pathlib import Path

import pytest

from glasshouse.cli.main import main
from glasshouse.core.rundir import RunDirectory
from glasshouse.serve.studio_runs import RunFolder, summarise, tell

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
        "questions": [{"id": p, "prompt": f"{p}?", "answers": ["a"]} for p in "abcd"],
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


def test_a_reward_model_of_another_tokenizer_is_refused(folder, tmp_path, capsys):
    main(["reward", str(folder / "parent"), "--preferences", str(folder / "pairs.jsonl"), "--out",
          str(tmp_path / "judge"), *SMALL])  # fmt: skip
    other = write_parent(tmp_path / "other", letters="abcdxyz?")
    asked = ["--method", "best_of_n", "--questions", str(folder / "questions.jsonl"), "--reward",
             f"model:{tmp_path / 'judge' / 'model'}", "--set", "n=2", "--set", "max_tokens=4"]  # fmt: skip
    with pytest.raises(SystemExit):
        main(["align", str(other), *asked, "--out", str(tmp_path / "refused")])
    assert "this reward model belongs to tokenizer" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "refused").exists()
    main(["align", str(folder / "parent"), *asked, "--out", str(tmp_path / "taken")])


# ---- a run like others -----------------------------------------------------------------------------------------------


def interrupt_at(monkeypatch, n_metrics):
    """Ctrl-C after so many records of metrics."""
    metric, seen = RunDirectory.metric, []

    def tell(run, stage, step, metrics):
        metric(run, stage, step, metrics)
        seen.append(step)
        if len(seen) == n_metrics:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunDirectory, "metric", tell)


def weights(run):
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("verb", ["dpo", "reward", "grpo"])
def test_an_interrupted_run_is_listed_and_resumes_to_the_same_bits(folder, tmp_path, monkeypatch, capsys, verb):
    monkeypatch.setenv("COLUMNS", "200")
    more = ["--set", "metric_every=1", "--set", "seed=3"]
    commands = {
        "dpo": ["align", "parent", "--preferences", "pairs.jsonl", "--set", "batch_tokens=400", *more],
        "reward": ["reward", "parent", "--preferences", "pairs.jsonl", "--set", "batch_tokens=400", *more],
        "grpo": ["align", "parent", "--method", "grpo", "--questions", "questions.jsonl", "--reward", "length:9", *more,
                 "--set", "n_iterations=4", "--set", "rollout.n_prompts=2", "--set", "rollout.max_tokens=4"],
    }  # fmt: skip
    monkeypatch.chdir(folder)
    main([*commands[verb], "--out", str(tmp_path / "whole")])
    with monkeypatch.context() as patched:
        interrupt_at(patched, 2)
        with pytest.raises(SystemExit):
            main([*commands[verb], "--out", str(tmp_path / "cut")])
    assert f"glass resume {tmp_path / 'cut'}" in " ".join("".join(capsys.readouterr()).split())
    main(["runs", str(tmp_path)])
    shown = capsys.readouterr().out
    assert re.search(r"interrupted at step [123] of \d", shown) and "finished" in shown
    listed = {run.name: summarise(run) for run in RunFolder(tmp_path).all()}
    assert listed["cut"]["state"] == "interrupted" and listed["whole"]["state"] == "finished"
    assert max(tell(RunDirectory(tmp_path / "cut"))["steps"].values()) > 2

    monkeypatch.chdir(tmp_path)  # nothing of the recipe depends on where the command is given
    main(["resume", "cut"])
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    main(["resume", "cut"])
    assert "unchanged, not run again" in capsys.readouterr().out


def test_resume_tells_what_has_changed(folder, tmp_path, capsys):
    data = tmp_path / "data.jsonl"
    data.write_text((folder / "pairs.jsonl").read_text())
    run = align(folder, tmp_path, data)
    data.write_text(data.read_text() * 2)
    with pytest.raises(SystemExit):
        main(["resume", str(run)])
    assert "has changed since this run began" in capsys.readouterr().err
    data.unlink()
    with pytest.raises(SystemExit):
        main(["resume", str(run)])
    assert "no such file" in capsys.readouterr().err


def test_other_settings_begin_anew_and_another_kind_of_run_is_left_alone(folder, tmp_path, capsys):
    run = align(folder, tmp_path, "pairs.jsonl")
    before = weights(run)
    align(folder, tmp_path, "pairs.jsonl", "--set", "seed=5")
    assert weights(run) != before
    life = tmp_path / "life"
    life.mkdir()
    (life / "recipe.toml").write_text('name = "life"\n')
    (tmp_path / "mine" / "align").mkdir(parents=True)
    (tmp_path / "mine" / "align" / "thesis.txt").touch()
    for out, words in ((life, "a run of another kind"), (tmp_path / "mine", "not of a run")):
        with pytest.raises(SystemExit):
            main(["align", str(folder / "parent"), "--preferences", str(folder / "pairs.jsonl"), "--out", str(out)])
        assert words in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "mine" / "align" / "thesis.txt").exists()
