"""The evaluation harness that everybody uses, as it is, against a server on loopback."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glasshouse.checkpoint import save_checkpoint
from glasshouse.infer import Engine, SamplingConfig
from glasshouse.serve.template import chat_prompt

from .conftest import MODEL, Running
from .test_completions import direct_logps

ITEMS = [
    {"question": "import json", "choices": [" as j", "\n\nclass A", " def"], "answer": 1},
    {"question": "def f(self, x):", "choices": ["\n    return x", " pass pass", " 日本"], "answer": 0},
    {"question": "for i in range(", "choices": ["len(x)):", "10):", "None"], "answer": 2},
]
COMMON = """
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
doc_to_text: "{{{{question}}}}"
metadata: {{version: 1}}
"""
CHOICE = "task: tiny_choice\noutput_type: multiple_choice\ndoc_to_choice: choices\ndoc_to_target: answer\n" + COMMON
WRITE = (
    'task: tiny_write\noutput_type: generate_until\ndoc_to_target: "x"\n'
    'generation_kwargs: {{until: ["("], max_gen_toks: 8}}\n' + COMMON
)


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    data = folder / "items.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in ITEMS), encoding="utf-8")
    for name, text in (("choice", CHOICE), ("write", WRITE)):
        (folder / f"{name}.yaml").write_text(text.format(data=data), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def checkpoint(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its tokenizer is what the harness cuts texts with."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    return save_checkpoint(folder, engine.model, engine.tokenizer, recipe={}, cost=None, provenance={})


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    yield


def evaluate(kind: str, arguments: dict[str, Any], task: str, folder: Path, **options: Any) -> Any:
    evaluator = pytest.importorskip("lm_eval.evaluator")
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    results = evaluator.simple_evaluate(
        model=kind, model_args={"model": MODEL, "num_concurrent": 1, "max_retries": 1, **arguments}, tasks=[task],
        task_manager=manager, log_samples=True, bootstrap_iters=0, **options,
    )  # fmt: skip
    return sorted(results["samples"][task], key=lambda sample: sample["doc_id"])


@pytest.mark.parametrize("tokenized", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_likelihoods_are_the_models_own(
    server: Running, engine: Engine, task_folder: Path, checkpoint: Path, tokenized: bool
) -> None:
    arguments = {"base_url": f"{server.url}/v1/completions", "tokenizer": str(checkpoint),
                 "tokenizer_backend": "huggingface", "tokenized_requests": tokenized, "batch_size": 2}  # fmt: skip
    samples = evaluate("local-completions", arguments, "tiny_choice", task_folder)
    assert len(samples) == len(ITEMS)
    for item, sample in zip(ITEMS, samples):
        for choice, [(logp, is_greedy)] in zip(item["choices"], sample["resps"]):
            text = f"{item['question']} {choice}"  # the harness puts a space between
            expected, greedy = likelihood(engine, item["question"], text)
            assert float(logp) == pytest.approx(expected, abs=1e-3) and bool(is_greedy) == greedy


def likelihood(engine: Engine, question: str, text: str) -> tuple[float, bool]:
    """Sum over the tokens of `text` that come after `question`, and whether greedy decoding would say them."""
    ids = engine.tokenizer.encode(text)
    n_context = len(engine.tokenizer.encode(question))
    expected = sum(direct_logps(engine, ids)[n_context - 1 :])
    [said] = engine.generate([ids[:n_context]], SamplingConfig(max_tokens=len(ids) - n_context, ignores_end=True))
    return expected, list(said.ids) == ids[n_context:]


@pytest.mark.slow
def test_texts_written_by_completions(server: Running, engine: Engine, task_folder: Path, checkpoint: Path) -> None:
    arguments = {"base_url": f"{server.url}/v1/completions", "tokenizer": str(checkpoint),
                 "tokenizer_backend": "huggingface"}  # fmt: skip
    samples = evaluate("local-completions", arguments, "tiny_write", task_folder)
    prompts = [engine.tokenizer.encode(item["question"]) for item in ITEMS]
    assert [sample["resps"][0][0] for sample in samples] == written(engine, prompts)


def test_texts_written_by_chat(server: Running, engine: Engine, task_folder: Path) -> None:
    arguments = {"base_url": f"{server.url}/v1/chat/completions", "tokenizer_backend": None}
    samples = evaluate("local-chat-completions", arguments, "tiny_write", task_folder, apply_chat_template=True)
    turns = [[{"role": "user", "content": item["question"]}] for item in ITEMS]
    prompts = [chat_prompt(engine.tokenizer, turn) for turn in turns]
    assert [sample["resps"][0][0] for sample in samples] == written(engine, prompts)


def written(engine: Engine, prompts: list[list[int]]) -> list[str]:
    return [c.text for c in engine.generate(prompts, SamplingConfig(max_tokens=8, stop=("(",)))]
