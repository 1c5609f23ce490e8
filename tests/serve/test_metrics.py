from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from glasshouse.infer import Engine

from .conftest import MODEL, Running, running


@pytest.fixture(scope="module")
def fresh(engine: Engine) -> Iterator[Running]:
    with running(Engine(engine.model, engine.tokenizer)) as server:
        yield server


def scrape(server: Running) -> dict[tuple[str, ...], float]:
    text = server.ask("GET", "/metrics").data.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(s.name, *(f"{k}={v}" for k, v in sorted(s.labels.items()))): s.value for s in samples}


def complete(server: Running, **options: Any) -> Any:
    body = {"model": MODEL, "prompt": "def" * 30, "max_tokens": 5, "temperature": 0, "logit_bias": {"0": -100}}
    return server.ask("POST", "/v1/completions", body | options)


def test_what_is_measured(fresh: Running) -> None:
    answers = [complete(fresh).json for _ in range(3)]
    complete(fresh, temperature=-1)
    fresh.ask("GET", "/no/such/path")
    figures, model, route = scrape(fresh), f"model={MODEL}", "route=/v1/completions"
    n_prompt = sum(answer["usage"]["prompt_tokens"] for answer in answers)
    assert figures["glasshouse_requests_total", route, "status=200"] == 3
    assert figures["glasshouse_requests_total", route, "status=400"] == 1
    assert figures["glasshouse_requests_total", "route=none", "status=404"] == 1
    assert figures["glasshouse_prompt_tokens_total", model] == n_prompt
    assert figures["glasshouse_generated_tokens_total", model] == 15
    assert 0 < figures["glasshouse_cached_prompt_tokens_total", model] < n_prompt, "one prompt, three times"
    assert figures["glasshouse_time_to_first_token_seconds_count", model] == 3
    assert figures["glasshouse_time_per_token_seconds_count", model] == 3
    assert figures["glasshouse_running", model] == figures["glasshouse_waiting", model] == 0
    assert figures["glasshouse_kv_blocks", model] > figures["glasshouse_kv_blocks_used", model] >= 0


def test_clients_cannot_make_series(fresh: Running) -> None:
    n_series = len(scrape(fresh))
    for path in ("/v1/models/a", "/v1/models/b", "/x", "/y"):
        fresh.ask("GET", path)
    complete(fresh, model="z")
    assert len(scrape(fresh)) - n_series <= 6  # one route and one status more each, with its _created


def test_alive_and_ready(fresh: Running) -> None:
    assert fresh.ask("GET", "/health").json == {"status": "ok"}
    assert fresh.ask("GET", "/ready").json == {"status": "ready"}
    fresh.app.state.is_ready = False
    try:
        answer = fresh.ask("GET", "/ready")
        assert answer.status == 503 and answer.error["code"] == "not_ready" and answer.headers["retry-after"]
        assert fresh.ask("GET", "/health").status == 200
    finally:
        fresh.app.state.is_ready = True
