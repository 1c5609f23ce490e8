"""`glass eval` and `glass compare` on models of a few hundred parameters."""

import json

import pytest

from glasshouse.checkpoint import save_checkpoint
from glasshouse.cli.main import main
from glasshouse.model import ModelConfig

from ..conftest import varied_model

TASK = """name = "quiz"
prompt = "{q}"
controls = ["empty_question"]
group_by = "kind"

[data]
path = "quiz.jsonl"

[choices]
field = "options"
right = "{right}"
"""


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    """Checkpoints `a` and `b`, a task and a file of questions."""
    folder = tmp_path_factory.mktemp("evals")
    for name, d_ff in (("a", 32), ("b", 64)):
        shape = ModelConfig(vocab_size=tokenizer.vocab_size, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, d_head=8,
                            d_ff=d_ff, max_seq_len=512)  # fmt: skip
        save_checkpoint(folder / name, varied_model(shape), tokenizer, recipe={}, cost=None, provenance={})
    records = [{"q": f"def f{i}", "options": ["(x):", " return", "import"], "right": i % 3, "kind": "ab"[i % 2]}
               for i in range(30)]  # fmt: skip
    (folder / "quiz.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    (folder / "quiz.toml").write_text(TASK)
    (folder / "mine.jsonl").write_text('{"id": "1", "prompt": "What?", "answers": ["this"]}\n')
    return folder


def glass(verb, folder, *arguments):
    main([verb, *(str(folder / a) if a in ("a", "b", "quiz.toml", "mine.jsonl") else a for a in arguments)])


def test_eval_prints_a_table_and_keeps_results(folder, tmp_path, capsys):
    glass("eval", folder, "a", "quiz.toml", "mine.jsonl", "--out", str(tmp_path), "--limit", "12")
    shown = capsys.readouterr().out
    for text in ("quiz", "accuracy_per_byte", "95 % interval", "empty question", "chance 33.3 %", "group", "mine"):
        assert text in shown
    record = json.loads((tmp_path / "quiz.json").read_text())
    assert record["n_items"] == 12 and record["config"]["limit"] == 12 and str(folder / "a") in record["model"]
    assert len((tmp_path / "quiz.items.jsonl").read_text().splitlines()) == 1 + 24


def test_eval_again_asks_nothing(folder, tmp_path, capsys, monkeypatch):
    glass("eval", folder, "a", "quiz.toml", "--out", str(tmp_path))
    from glasshouse.evals import EngineModel

    monkeypatch.setattr(EngineModel, "likelihoods", None)
    glass("eval", folder, "a", "quiz.toml", "--out", str(tmp_path))


def test_compare_evaluates_both_or_reads_results(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    glass("compare", folder, "a", "b", "quiz.toml", "--out", str(tmp_path / "both"))
    first = capsys.readouterr().out
    assert "difference" in first and "accuracy_per_token" in first and "B - A" in first
    folders = sorted(p for p in (tmp_path / "both").iterdir())
    main(["compare", *map(str, folders)])
    assert "accuracy_per_token" in capsys.readouterr().out


def test_other_limits_are_not_compared(folder, tmp_path, capsys):
    glass("eval", folder, "a", "quiz.toml", "--out", str(tmp_path / "a"))
    glass("eval", folder, "b", "quiz.toml", "--out", str(tmp_path / "b"), "--limit", "5")
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(tmp_path / "a"), str(tmp_path / "b")])
    assert stop.value.code == 3 and "different items or settings" in capsys.readouterr().err


@pytest.mark.slow  # 10 s of imports; what it does is tested in evals/test_lm_eval_adapter
def test_lm_eval(folder, tmp_path, capsys, monkeypatch):
    pytest.importorskip("lm_eval")
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "quiz.yaml").write_text(
        f"task: quiz_there\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {folder / 'quiz.jsonl'}}}}}\n"
        'test_split: test\noutput_type: multiple_choice\ndoc_to_text: "{{q}}"\ndoc_to_choice: options\n'
        "doc_to_target: right\nmetadata: {version: 1}\n"
    )
    glass("eval", folder, "a", "--lm-eval", "quiz_there", "--lm-eval-folder", str(tmp_path / "tasks"), "--limit", "6",
          "--out", str(tmp_path / "out"))  # fmt: skip
    assert "quiz_there" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "lm_eval.json").read_text())["results"]["quiz_there"]["acc,none"] >= 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("eval", "a"), 2, "name a task file or a suite"), (("eval", "a", "langage"), 2, 'Did you mean "language"'),
        (("eval", "a", "language"), 3, "--data FOLDER"), (("compare", "a", "b"), 2, "holds no results of tasks"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(folder, tmp_path, capsys, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        glass(arguments[0], folder, *arguments[1:])
    assert stop.value.code == code and message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_suites_run_where_their_data_is(folder, tmp_path, shared_data, capsys):
    for suite in ("language", "sentiment", "knowledge"):
        glass("eval", folder, "a", suite, "--data", str(shared_data / "tasks"), "--limit", "40", "--out", str(tmp_path))
    assert {p.stem for p in tmp_path.glob("*.json")} == {"blimp", "sst2", "stdlib"}
