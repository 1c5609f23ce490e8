"""A tiny random model behind a real server on loopback, in a thread of the test process."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import openai
import pytest
import torch

from glasshouse.core.errors import CheckpointError
from glasshouse.infer import BackgroundEngine, Delta, Engine, SamplingConfig
from glasshouse.model import ModelConfig
from glasshouse.serve.app import create_app
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.http import FastAPI
from glasshouse.serve.server import Server
from glasshouse.tokenizer import Tokenizer

from ..conftest import until as until
from ..conftest import varied_model
from ..conftest import wait_until as wait_until

MODEL = "tiny"
MAX_SEQ_LEN = 768


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tensors here are tiny: a second thread only waits for the first."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def engine(tokenizer: Tokenizer) -> Engine:
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, d_head=16, d_ff=64,
        max_seq_len=MAX_SEQ_LEN,
    )  # fmt: skip
    return Engine(varied_model(config), tokenizer)


@dataclass
class Running:
    """A server that is up."""

    app: FastAPI
    engine: Engine
    background: BackgroundEngine
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> "Answer":
        """One plain request.  `body` is sent as it is when it is bytes, else as JSON."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Content-Type": "application/json"} if data is not None else {}
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def error(self) -> dict[str, Any]:
        """The error, checked to be of OpenAI's shape."""
        [(key, error)] = self.json.items()
        assert key == "error" and error.keys() == {"message", "type", "param", "code"}, self.json
        assert isinstance(error["message"], str) and error["message"] and self.status >= 400
        return error


@contextmanager
def running(engine: Engine, config: ServeConfig | None = None, background: Any = None) -> Iterator[Running]:
    config = config or ServeConfig()
    background = background or BackgroundEngine(engine, max_waiting=config.max_waiting)
    app = create_app({MODEL: background}, config)
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = Server(app, config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield Running(app, engine, background, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="session")
def server(engine: Engine) -> Iterator[Running]:
    """Its engine is not the fixture `engine`, which tests ask directly: an engine is used by one thread at a time."""
    with running(Engine(engine.model, engine.tokenizer)) as server:
        yield server


class Scripted:
    """An engine in the background that says what the test wants, token by token, and notes what became of it."""

    def __init__(self, engine: Engine, text: str = "", fails_after: int | None = None, pause_s: float = 0.0) -> None:
        self.engine, self.fails_after, self.pause_s = engine, fails_after, pause_s
        self.ids, self.max_waiting = engine.tokenizer.encode(text), 256
        self.n_started = self.n_cancelled = self.n_said = 0
        self.refusal: Exception | None = None

    is_running = True

    def stop(self, drains: bool = True) -> None: ...

    def stats(self) -> Any:
        raise NotImplementedError

    async def stream(self, ids: Any, sampling: SamplingConfig, grammar: Any = None) -> AsyncIterator[Delta]:
        if self.refusal is not None:
            raise self.refusal
        self.n_started += 1
        is_over = False
        try:
            for index, id in enumerate(self.ids):
                await asyncio.sleep(self.pause_s)
                if index == self.fails_after:
                    raise CheckpointError("the weights are damaged")
                is_last = index == len(self.ids) - 1
                self.n_said += 1
                yield Delta(self.engine.tokenizer.decode([id]), id, -1.0, "length" if is_last else None)
            is_over = True
        finally:
            self.n_cancelled += not is_over
