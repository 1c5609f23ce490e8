"""Clients that leave, stall, or crowd."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import openai
import pytest

from glasshouse.core.errors import CheckpointError, ConfigError
from glasshouse.infer import Engine, QueueFull
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.server import _allow_many_files
from glasshouse.serve.streaming import EventStream

from .conftest import MODEL, Running, Scripted, running, wait_until

LONG: dict[str, Any] = {"model": MODEL, "prompt": "def", "max_tokens": 700, "temperature": 0, "logit_bias": {"0": -100}}


def post(server: Running, body: dict[str, Any], path: str = "/v1/completions") -> socket.socket:
    """A request sent by hand, its answer not yet read."""
    data = json.dumps(body).encode()
    connection = server.connect()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    )
    connection.sendall(head.encode() + b"\r\n" + data)
    return connection


def events(connection: socket.socket) -> list[str]:
    """What came as server-sent events until the connection closed or the stream ended."""
    data = b""
    while not data.endswith(b"0\r\n\r\n") and (piece := connection.recv(65536)):
        data += piece
    return [line[6:] for line in data.decode().splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("options", [{"stream": True}, {}, {"n": 3}, {"n": 3, "stream": True}, {"echo": True}], ids=str)
def test_a_client_that_leaves_ends_the_work(server: Running, options: dict[str, Any]) -> None:
    before = server.engine.stats().n_generated_tokens
    connection = post(server, LONG | options)
    wait_until(lambda: server.engine.stats().n_running == options.get("n", 1))
    connection.close()
    wait_until(lambda: server.engine.stats().n_running == 0)
    assert server.engine.stats().n_generated_tokens - before < 700 * options.get("n", 1), "it did not run to its end"


def test_a_client_that_leaves_the_queue(engine: Engine) -> None:
    waiting = Engine(engine.model, engine.tokenizer, max_running=1)
    with running(waiting) as server:
        first = post(server, LONG)
        wait_until(lambda: waiting.stats().n_running == 1)
        second = post(server, LONG)
        wait_until(lambda: waiting.stats().n_waiting == 1)
        second.close()
        wait_until(lambda: waiting.stats().n_waiting == 0)
        assert waiting.stats().n_running == 1, "the first goes on"
        first.close()
        wait_until(lambda: waiting.stats().n_running == 0)


def test_a_full_queue_says_when_to_come_back(engine: Engine) -> None:
    small = Engine(engine.model, engine.tokenizer, max_running=1)
    with running(small, ServeConfig(max_waiting=1)) as server:
        first = post(server, LONG)
        wait_until(lambda: small.stats().n_running == 1)
        second = post(server, LONG)
        wait_until(lambda: small.stats().n_waiting == 1)
        for stream in (False, True):
            with pytest.raises(openai.RateLimitError) as caught:
                server.client.completions.create(model=MODEL, prompt="x", stream=stream)
            assert caught.value.code == "queue_full" and caught.value.response.headers["retry-after"] == "1"
        with pytest.raises(openai.RateLimitError):
            server.client.completions.create(model=MODEL, prompt="x", n=3)
        first.close()
        second.close()
        wait_until(lambda: small.stats().n_running + small.stats().n_waiting == 0)


@pytest.fixture(scope="module")
def scripted(engine: Engine) -> Iterator[tuple[Running, Scripted]]:
    background = Scripted(engine, "one two three four five")
    with running(engine, background=background) as server:
        yield server, background


@pytest.mark.parametrize(
    "error, status",
    [
        (QueueFull("full"), 429),
        (ConfigError("no"), 400),
        (CheckpointError("x"), 500),
        (ZeroDivisionError("secret"), 500),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_goes_wrong_before_the_first_token_has_its_status(
    scripted: tuple[Running, Scripted], error: Exception, status: int, stream: bool
) -> None:
    server, background = scripted
    background.refusal = error
    try:
        answer = server.ask("POST", "/v1/completions", {"model": MODEL, "prompt": "x", "stream": stream})
    finally:
        background.refusal = None
    assert answer.status == status and "secret" not in answer.error["message"]


@pytest.mark.parametrize("n", [1, 2])
def test_what_goes_wrong_later_is_told_in_the_stream(scripted: tuple[Running, Scripted], n: int) -> None:
    server, background = scripted
    background.fails_after = 3
    try:
        *said, last = events(post(server, {"model": MODEL, "prompt": "x", "stream": True, "n": n}))
        assert said and json.loads(last)["error"]["type"] == "server_error" and "[DONE]" not in said
        with pytest.raises(openai.APIError, match="damaged"):
            list(server.client.completions.create(model=MODEL, prompt="x", stream=True))
        assert server.ask("POST", "/v1/completions", {"model": MODEL, "prompt": "x"}).status == 500
    finally:
        background.fails_after = None
    assert background.n_cancelled > 0


def test_a_reader_that_stops_reading_is_let_go() -> None:
    """Its connection takes no more: after `write_timeout_s` the stream is closed, and with it the work."""
    closed = []

    async def endless() -> AsyncGenerator[dict[str, Any], None]:
        try:
            while True:
                yield {"x": 1}
        finally:
            closed.append(True)

    async def run() -> int:
        n_sent, never = 0, asyncio.Event()

        async def send(message: Any) -> None:
            nonlocal n_sent
            n_sent += 1
            if n_sent == 3:
                await never.wait()

        async def receive() -> Any:
            await never.wait()

        await asyncio.wait_for(EventStream(endless(), 0.05)({"type": "http"}, receive, send), 20)
        return n_sent

    assert asyncio.run(run()) == 3 and closed


def test_a_slow_reader_holds_up_nobody(server: Running) -> None:
    slow = [post(server, LONG | {"stream": True, "max_tokens": 200}) for _ in range(3)]
    answer = server.ask("POST", "/v1/completions", {"model": MODEL, "prompt": "x", "max_tokens": 3, "temperature": 0})
    assert answer.status == 200
    assert all(events(connection)[-1] == "[DONE]" for connection in slow), "what they did not read has waited for them"


def test_a_thousand_idle_connections(server: Running) -> None:
    _allow_many_files()
    idle = [server.connect() for _ in range(1000)]
    for connection in idle[::2]:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHo")  # half of them stop in the middle of a word
    try:
        answer = server.ask("POST", "/v1/completions", {"model": MODEL, "prompt": "x", "max_tokens": 2})
        assert answer.status == 200
    finally:
        for connection in idle:
            connection.close()


def test_a_body_that_stops_coming(engine: Engine) -> None:
    with running(engine, ServeConfig(read_timeout_s=0.1), Scripted(engine, "x")) as server:
        connection = server.connect()
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n"
                           b"Content-Type: application/json\r\n\r\n{")  # fmt: skip
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")
        connection.close()
