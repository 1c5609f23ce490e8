import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from glasshouse.infer import Engine
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.logs import JSONLines

from .conftest import MODEL, Running, Scripted, running, wait_until

SECRET = "a very private question"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": SECRET}], "max_tokens": 3}


@pytest.fixture
def lines() -> Iterator[list[str]]:
    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(self.format(record))

    kept: list[str] = []
    handler, logger = Keep(), logging.getLogger("glasshouse.serve")
    handler.setFormatter(JSONLines())
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield kept
    logger.removeHandler(handler)
    logger.setLevel(level)


def last(lines: list[str], n: int = 1) -> Any:
    wait_until(lambda: len(lines) >= n)
    return json.loads(lines[-1])


def test_one_line_a_request_without_its_words(server: Running, lines: list[str]) -> None:
    server.ask("POST", "/v1/chat/completions", BODY)
    line = last(lines)
    assert line["event"] == "request" and line["status"] == 200 and line["model"] == MODEL
    assert line["n_generated_tokens"] == 3 and line["seconds"] >= line["seconds_to_first_token"] > 0
    assert "private" not in lines[0] and len(lines) == 1


def test_no_words_of_wrong_requests_either(server: Running, lines: list[str]) -> None:
    server.ask("POST", "/v1/chat/completions", BODY | {"temperature": SECRET})
    assert last(lines)["status"] == 400 and "private" not in lines[0]


def test_prompts_where_asked(engine: Engine, lines: list[str]) -> None:
    with running(engine, ServeConfig(logs_prompts=True), Scripted(engine, "said")) as server:
        server.ask("POST", "/v1/chat/completions", BODY)
        assert last(lines)["messages"] == BODY["messages"]
        server.ask("POST", "/v1/completions", {"model": MODEL, "prompt": SECRET})
        assert last(lines, 2)["prompt"] == SECRET


def test_line_breaks_make_no_new_lines(server: Running, lines: list[str]) -> None:
    server.ask("GET", "/v1/models/x%0A%7B%22event%22:%22forged%22%7D")
    assert last(lines)["event"] == "request" and "\n" not in lines[0]


def test_a_defect_is_logged_with_its_place_and_told_without(engine: Engine, lines: list[str]) -> None:
    background = Scripted(engine, "x")
    background.refusal = ZeroDivisionError("inner secret")
    with running(engine, background=background) as server:
        answer = server.ask("POST", "/v1/completions", {"model": MODEL, "prompt": "x"})
        last(lines, 2)
    assert answer.status == 500 and answer.error["type"] == "server_error" and "secret" not in answer.data.decode()
    failure = json.loads(lines[0])
    assert failure["event"] == "failure" and "ZeroDivisionError" in failure["traceback"]
