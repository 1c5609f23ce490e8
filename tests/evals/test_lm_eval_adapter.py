"""The harness on our engine against the harness on transformers, item by item, on one checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest

from glasshouse.checkpoint import save_checkpoint
from glasshouse.core.errors import ConfigError
from glasshouse.infer import Engine
from glasshouse.model import ModelConfig

from ..conftest import varied_model

pytest.importorskip("lm_eval")

ITEMS = [
    {"question": "import json", "choices": [" as j", "\n\nclass A", " def"], "answer": 1, "text": "x = 1\n" * 60},
    {
        "question": "def f(self, x):",
        "choices": ["\n    return x", " pass pass", " 日本"],
        "answer": 0,
        "text": "import os",
    },
    {
        "question": "for i in range(" + "len(x), " * 40,
        "choices": ["len(x)):", "10):", "N"],
        "answer": 2,
        "text": "Größe 🎉",
    },
    {"question": "", "choices": ["import", "class", "raise"], "answer": 2, "text": "def f(x):\n    return x\n" * 9},
]
COMMON = """
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
doc_to_text: "{{{{question}}}}"
metadata: {{version: 1}}
"""
TASKS = {
    "choice": "task: tiny_choice\noutput_type: multiple_choice\ndoc_to_choice: choices\ndoc_to_target: answer\n"
    'target_delimiter: ""\n' + COMMON,
    "rolling": "task: tiny_rolling\noutput_type: loglikelihood_rolling\ndoc_to_target: '{{{{text}}}}'\n"
    + COMMON.replace("{{{{question}}}}", ""),
    "write": 'task: tiny_write\noutput_type: generate_until\ndoc_to_target: "x"\n'
    'generation_kwargs: {{until: ["("], max_gen_toks: 8}}\n'
    + COMMON.replace('"{{{{', '"# {{{{'),  # theirs fails on no prompt at all
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    data = folder / "items.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in ITEMS), encoding="utf-8")
    for name, text in TASKS.items():
        (folder / f"{name}.yaml").write_text(text.format(data=data), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def engine(tokenizer) -> Engine:
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, d_head=16, d_ff=48,
        max_seq_len=64,
    )  # fmt: skip
    return Engine(varied_model(config), tokenizer)


@pytest.fixture(scope="module")
def theirs(engine: Engine, task_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    save_checkpoint(folder, engine.model, engine.tokenizer, recipe={}, cost=None, provenance={})
    return simple_evaluate(
        model="hf", model_args={"pretrained": str(folder), "dtype": "float32", "device": "cpu"}, batch_size=3,
        tasks=list(NAMES), task_manager=TaskManager(include_path=str(task_folder), include_defaults=False),
        log_samples=True, bootstrap_iters=0,
    )["samples"]  # fmt: skip


NAMES = ("tiny_choice", "tiny_rolling", "tiny_write")


def test_equal_to_the_harness_on_transformers_item_by_item(engine, task_folder, theirs):
    from glasshouse.evals.lm_eval_adapter import run_lm_eval

    ours = run_lm_eval(engine, NAMES, folder=task_folder)["samples"]
    for name in NAMES:
        pairs = [sorted(samples[name], key=lambda s: s["doc_id"]) for samples in (ours, theirs)]
        assert len(pairs[0]) == len(pairs[1]) == len(ITEMS)
        for a, b in zip(*pairs):
            for [mine], [their] in zip(a["resps"], b["resps"]):
                compare(name, mine, their)


def compare(name: str, mine: Any, their: Any) -> None:
    if name == "tiny_write":
        assert mine == their
    elif name == "tiny_rolling":
        assert float(mine) == pytest.approx(float(their), abs=1e-4)
    else:
        assert float(mine[0]) == pytest.approx(float(their[0]), abs=1e-4)
        assert str(mine[1]) == str(their[1])


def test_a_chat_reads_marks_as_special_tokens(engine):
    from glasshouse.core.records import Message
    from glasshouse.evals.lm_eval_adapter import GlasshouseLM
    from glasshouse.infer import chat_ids

    judged = GlasshouseLM(engine, is_chat=True)
    text = judged.apply_chat_template([{"role": "user", "content": "Where?"}])
    assert judged.tok_encode(text) == chat_ids(engine.tokenizer, [Message("user", "Where?")])


def test_a_misspelt_task(engine, task_folder):
    from glasshouse.evals.lm_eval_adapter import run_lm_eval

    with pytest.raises(ConfigError, match='Did you mean "tiny_choice"'):
        run_lm_eval(engine, ["tiny_choise"], folder=task_folder)


def test_settings_that_cannot_be_followed_are_not_ignored(engine):
    from glasshouse.evals.lm_eval_adapter import _sampling

    with pytest.raises(ConfigError, match="num_beams"):
        _sampling({"until": ["\n"], "num_beams": 4})
    assert _sampling({"until": "\n", "max_gen_toks": 5, "temperature": 0.7}).temperature == 0.7
