"""What the Explain page asks: the same numbers as `glasshouse.explain` gives, bounded, and refused in words."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from glasshouse.explain import Account, direct_attribution, logit_lens, patch
from glasshouse.infer import Engine
from glasshouse.serve import studio_explain
from glasshouse.serve.studio import add_studio

from .conftest import MODEL, Running, running

API = "/studio/api/explain"


@pytest.fixture(scope="module")
def studio(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(engine) as server:
        runs, state = (tmp_path_factory.mktemp(name) for name in ("runs", "state"))
        add_studio(server.app, {MODEL: server.background}, runs, state)
        yield server


@pytest.fixture(scope="module")
def ids(engine: Engine) -> list[int]:
    return engine.tokenizer.encode("def load(self")


def ask(studio: Running, path: str, **body: Any) -> Any:
    answer = studio.ask("POST", f"{API}/{path}", {"model": MODEL, **body})
    assert answer.status == 200, answer.data
    return answer.json


def test_an_answer_comes_with_its_prompt(studio: Running, engine: Engine, ids: list[int]) -> None:
    answer = studio.ask("POST", f"{API}/answer", {"model": MODEL, "text": "def load(self", "max_tokens": 3})
    events = [json.loads(line[5:]) for line in answer.data.decode().splitlines() if line.startswith("data: {")]
    assert [token["id"] for token in events[0]["prompt"]] == ids and len(events) <= 4
    first = logit_lens(engine.model, ids, [-1])[-1, 0]
    assert events[1]["id"] == int(first.argmax())
    assert events[1]["logp"] == pytest.approx(float(first.max()), abs=1e-4) and len(events[1]["alternatives"]) == 8


def test_the_lens(studio: Running, engine: Engine, ids: list[int]) -> None:
    found = ask(studio, "lens", ids=ids, target=9)
    p_R = logit_lens(engine.model, ids, [-1])[:, 0, 9].exp()
    assert [row["p_target"] for row in found["rows"]] == pytest.approx(p_R.tolist(), abs=1e-5)
    assert [row["layer"] for row in found["rows"]] == [None, 0, 1] and not found["has_tuned"]


def test_attention(studio: Running, ids: list[int]) -> None:
    heads, pattern = ask(studio, "heads", ids=ids), ask(studio, "attention", ids=ids, layer=1, head=0)["pattern"]
    assert [len(row) for row in pattern] == list(range(1, len(ids) + 1))
    assert heads["weights"][1][0] == pattern[-1] and len(heads["induction"]) == 2
    assert sum(pattern[-1]) == pytest.approx(1, abs=1e-3)


def test_attribution_and_parts(studio: Running, engine: Engine, ids: list[int]) -> None:
    found = ask(studio, "attribution", ids=ids, target=9)
    assert sum(found["shares"]) == pytest.approx(found["logp"] - found["baseline_logp"], abs=5e-3)
    assert ask(studio, "attribution", ids=ids, target=9, method="gradient")["gap"] is None
    parts = ask(studio, "parts", ids=ids, target=9)
    assert parts["logit"] == pytest.approx(direct_attribution(engine.model, ids, 9).logit, abs=1e-4)


def test_patching(studio: Running, engine: Engine, ids: list[int]) -> None:
    other = [token["id"] for token in ask(studio, "encode", text="def dump(self")["tokens"]]
    other = [*other, *ids][: len(ids)]
    found = ask(studio, "patch", ids=ids, other_ids=other, target=9, other=11, site="attn_out")
    expected = patch(engine.model, ids, other, 9, 11).effect_LT["attn_out"]
    torch.testing.assert_close(torch.tensor(found["effects"]["attn_out"]), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("lens", {"model": "tinny", "ids": [1]}, 404, 'Did you mean "tiny"'),
        ("lens", {"ids": []}, 400, "a prompt is one id or more"),
        ("lens", {"ids": [500]}, 400, "from 0 to 499"),
        ("lens", {"ids": [1] * 513}, 400, "513 tokens; at most 512 are looked into at once"),
        ("lens", {"ids": [1], "target": 500}, 400, "there is no token 500"),
        ("attention", {"ids": [1], "layer": 2, "head": 0}, 400, "there is no layer 2"),
        ("attention", {"ids": [1], "layer": 0, "head": 2}, 400, "there is no head 2"),
        ("attention", {"ids": [1], "layer": 0}, 400, '"head" is missing'),
        ("attribution", {"ids": [1], "method": "magic"}, 400, "method"),
        ("patch", {"ids": [1, 2], "other_ids": [1]}, 400, "they must have equally many"),
        ("patch", {"ids": [1, 2], "other_ids": [1, 2]}, 400, "the same tokens"),
        ("patch", {"ids": [1] * 129, "other_ids": [2] * 129}, 400, "at most 128"),
        ("patch", {"ids": [1, 2], "other_ids": [1, 3], "site": "norm"}, 400, "site"),
        ("answer", {"text": "x" * 9000}, 400, "are looked into at once. Shorten it."),
    ],
)
def test_bad_questions(studio: Running, path: str, body: dict[str, Any], status: int, message: str) -> None:
    answer = studio.ask("POST", f"{API}/{path}", {"model": MODEL, **body})
    assert answer.status == status and message in answer.error["message"]


def test_long_work_ends(studio: Running, ids: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio_explain, "MAX_SECONDS", 0.0)
    answer = studio.ask("POST", f"{API}/patch", {"model": MODEL, "ids": ids, "other_ids": ids[::-1]})
    assert answer.status == 400 and answer.error["code"] == "too_long"


def test_serving_goes_on_while_something_is_looked_into(
    studio: Running, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def slow(*_: Any, **__: Any) -> dict[str, Any]:
        has_begun.set()
        assert may_end.wait(30)
        return {"done": True}

    monkeypatch.setattr(Account, "heads", slow)
    monkeypatch.setattr(studio_explain, "MAX_WAITING", 1)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, studio, "heads", ids=ids)
        assert has_begun.wait(30)
        completion = studio.client.completions.create(model=MODEL, prompt="def", max_tokens=2)
        assert completion.usage is not None and completion.usage.completion_tokens == 2 and not asked.done()
        refused = studio.ask("POST", f"{API}/lens", {"model": MODEL, "ids": ids})
        assert refused.status == 429 and "questions are waiting already" in refused.error["message"]
        may_end.set()
        assert asked.result(30)["done"]


def test_a_trained_lens_is_used(engine: Engine, ids: list[int], tmp_path: Path) -> None:
    """An engine that was loaded from a checkpoint knows what lies beside it."""
    from glasshouse.checkpoint import save_checkpoint
    from glasshouse.explain import Translators, TunedLens, save_tuned_lens

    folder = save_checkpoint(tmp_path / "m", engine.model, engine.tokenizer, recipe={}, cost=None, provenance={})
    bias_LD = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    translators = Translators(torch.zeros(2, 32, 32), bias_LD)
    save_tuned_lens(folder, TunedLens(translators, (0.0, 0.0), (0.0, 0.0)))
    with running(Engine.load(folder)) as server:
        add_studio(server.app, {MODEL: server.background}, tmp_path, tmp_path / "state")
        plain, tuned = (ask(server, "lens", ids=ids, target=9, is_tuned=is_tuned) for is_tuned in (False, True))
        assert plain["has_tuned"] and tuned["is_tuned"] and plain["rows"][-1] == tuned["rows"][-1]
        expected = logit_lens(engine.model, ids, [-1], translators)[:, 0, 9].exp()
        assert [row["p_target"] for row in tuned["rows"]] == pytest.approx(expected.tolist(), abs=1e-5)
