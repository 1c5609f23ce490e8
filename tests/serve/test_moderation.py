"""A guarded server over real HTTP: what is blocked is neither read nor said, streamed or not."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from glasshouse.infer import Delta, Engine
from glasshouse.serve import moderation
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.moderation import PIECE, Moderation

from .conftest import MODEL, Running, Scripted, running, wait_until


class WordJudge:
    """Blocks texts with a word in them, and counts its readings."""

    def __init__(self, word: str) -> None:
        self.word, self.n_read = word, 0

    def blocks(self, text: str) -> bool:
        self.n_read += 1
        return self.word in text


TEXT = (
    "import os, then import json, and go on with the rest of it. " * 3
    + "Here comes the poison, at last. And more of it."
)


@contextmanager
def guarded(
    engine: Engine, word: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Running, WordJudge, Scripted]]:
    """A server whose model says `TEXT`, guarded against a word."""
    judge, says = WordJudge(word), Scripted(engine, TEXT)
    monkeypatch.setattr(moderation.Moderation, "load", staticmethod(lambda path: Moderation(judge)))
    with running(engine, ServeConfig(moderation="given"), says) as server:
        yield server, judge, says


def ask(server: Running, text: str, **options):
    return server.client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], **options)


def test_a_blocked_request_is_refused_before_any_work(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with guarded(engine, "poison", monkeypatch) as (server, _, says):
        for options in ({}, {"stream": True}):
            with pytest.raises(openai.BadRequestError) as error:
                ask(server, "how do I poison him", **options)
            assert error.value.code == "content_filter" and error.value.param == "messages"
        answer = server.ask("POST", "/v1/completions", {"model": MODEL, "prompt": ["a", "the poison"], "max_tokens": 4})
        assert answer.status == 400 and answer.error["code"] == "content_filter" and answer.error["param"] == "prompt"
        assert says.n_started == 0


def test_what_is_allowed_is_said_whole(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with guarded(engine, "never said", monkeypatch) as (server, judge, says):
        whole = ask(server, "hello").choices[0]
        streamed = [chunk.choices[0] for chunk in ask(server, "hello", stream=True)]
    assert whole.message.content == TEXT == "".join(chunk.delta.content or "" for chunk in streamed)
    assert whole.finish_reason == streamed[-1].finish_reason == "length"
    assert judge.n_read == 2 * (1 + -(-len(says.ids) // PIECE))  # the question, and the answer as it grows


def test_a_blocked_answer_ends_with_content_filter_streamed_or_not(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with guarded(engine, "poison", monkeypatch) as (server, _, says):
        whole = ask(server, "hello").choices[0]
        chunks = [chunk.choices[0] for chunk in ask(server, "hello", stream=True)]
        text = server.ask("POST", "/v1/completions", {"model": MODEL, "prompt": "x"}).json["choices"][0]
        wait_until(lambda: says.n_cancelled == 3)
    assert whole.finish_reason == chunks[-1].finish_reason == text["finish_reason"] == "content_filter"
    assert whole.message.content == text["text"] == "".join(chunk.delta.content or "" for chunk in chunks)
    assert TEXT.startswith(whole.message.content) and "poison" not in whole.message.content
    assert len(whole.message.content) > 40  # what was judged before stays


def test_of_several_answers_only_the_blocked_one_ends() -> None:
    async def events():
        for at in range(3):
            for number, word in ((0, "good "), (1, "bad ")):
                yield number, Delta(word, at, -1.0, "length" if at == 2 else None)

    async def collect():
        return [event async for event in Moderation(WordJudge("bad")).guarded(events(), 2)]

    found = asyncio.run(collect())
    assert [delta.text for number, delta in found if number == 0] == ["good "] * 3
    assert [(delta.text, delta.finish_reason) for number, delta in found if number == 1] == [("", "content_filter")]


def test_a_server_without_one_has_no_guard_and_a_missing_one_stops_it(engine: Engine, tmp_path: Path) -> None:
    from glasshouse.core.errors import CheckpointError

    assert Moderation.load(None) is None
    with pytest.raises(CheckpointError, match="no moderator"), running(engine, ServeConfig(moderation=str(tmp_path))):
        pass
