"""Who may come in."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from glasshouse.infer import Engine
from glasshouse.serve.config import ServeConfig, is_loopback
from glasshouse.serve.keys import KeyStore

from .conftest import MODEL, Running, Scripted, running

PATHS = ("/v1/models", "/metrics", "/openapi.json", "/v1/models/tiny")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::2]", "localhost."]
)
def test_a_foreign_host_is_refused(server: Running, host: str) -> None:
    """DNS rebinding: a foreign name that leads here."""
    answer = server.ask("GET", "/v1/models", headers={"Host": host})
    assert answer.status == 403 and answer.error["code"] == "host_not_allowed"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1:1", "[::1]:8000"])
def test_own_names(server: Running, host: str) -> None:
    assert server.ask("GET", "/v1/models", headers={"Host": host}).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "file://", "http://[", "x"])
@pytest.mark.parametrize(
    "method, path", [("GET", "/v1/models"), ("POST", "/v1/completions"), ("OPTIONS", "/v1/models")]
)
def test_a_foreign_origin_is_refused(server: Running, origin: str, method: str, path: str) -> None:
    answer = server.ask(method, path, headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
    assert answer.status == 403 and answer.error["code"] == "origin_not_allowed"
    assert "access-control-allow-origin" not in answer.headers


def test_our_own_pages_may_ask(server: Running) -> None:
    assert server.ask("GET", "/v1/models", headers={"Origin": server.url}).status == 200


@pytest.fixture(scope="module")
def guarded(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, KeyStore]]:
    folder: Path = tmp_path_factory.mktemp("keys")
    config = ServeConfig(
        requires_keys=True, keys_folder=folder, requests_per_minute=12,
        allowed_hosts=("llm.example",), allowed_origins=("https://tools.example",),
    )  # fmt: skip
    with running(engine, config, Scripted(engine, "x")) as server:
        yield server, KeyStore(folder)


def test_allowed_names_and_pages(guarded: tuple[Running, KeyStore]) -> None:
    server, _ = guarded
    assert server.ask("GET", "/health", headers={"Host": "llm.example"}).status == 200
    page = {"Origin": "https://tools.example"}
    answer = server.ask("GET", "/health", headers=page)
    assert (
        answer.headers["access-control-allow-origin"] == "https://tools.example" and answer.headers["vary"] == "Origin"
    )
    before = server.ask("OPTIONS", "/v1/completions", headers={**page, "Access-Control-Request-Method": "POST"})
    assert before.status == 204 and "authorization" in before.headers["access-control-allow-headers"]


def test_keys(guarded: tuple[Running, KeyStore]) -> None:
    server, keys = guarded
    text, key = keys.create("ada")
    other, _ = keys.create("bob")

    def status(path: str, authorization: str | None) -> int:
        return server.ask("GET", path, headers={"Authorization": authorization} if authorization else {}).status

    for path in PATHS:
        assert status(path, None) == 401
    for wrong in ("Bearer", "Bearer ", f"Basic {text}", f"Bearer {text}x", f"Bearer {text} x", "Bearer ../../x"):
        assert status("/v1/models", wrong) == 401
    assert status("/v1/models", f"Bearer {text}") == 200
    assert status("/health", None) == status("/ready", None) == 200
    keys.revoke(key.id)
    assert status("/v1/models", f"Bearer {text}") == 401, "revoked at once"
    assert status("/v1/models", f"bearer {other}") == 200


def test_the_client_with_and_without_a_key(guarded: tuple[Running, KeyStore]) -> None:
    server, keys = guarded
    text, _ = keys.create("client")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=text, max_retries=0)
    assert [model.id for model in client.models.list()] == [MODEL]
    with pytest.raises(openai.AuthenticationError, match="glass key create"):
        server.client.models.list()


def test_the_rate_of_one_key_is_not_the_others(guarded: tuple[Running, KeyStore]) -> None:
    server, keys = guarded
    first, second = (openai.OpenAI(base_url=f"{server.url}/v1", api_key=keys.create(name)[0], max_retries=0)
                     for name in ("greedy", "modest"))  # fmt: skip
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(13):
            first.models.list()
    assert caught.value.code == "rate_limit_exceeded" and 1 <= int(caught.value.response.headers["retry-after"]) <= 5
    assert second.models.list().data


def test_what_counts_as_loopback() -> None:
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert is_loopback(host) and not ServeConfig(host=host).asks_for_keys
    for host in ("0.0.0.0", "::", "192.168.1.2", "box", ""):
        assert not is_loopback(host) and ServeConfig(host=host).asks_for_keys
