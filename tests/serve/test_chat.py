import asyncio
import json
from typing import Any, Literal

import openai
import pydantic
import pytest

from glasshouse.evals.json_schema import fits
from glasshouse.infer import Doubt, Engine
from glasshouse.serve.template import chat_prompt

from .conftest import MODEL, Running, Scripted, running

HI: list[Any] = [{"role": "user", "content": "def f(x):"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather now",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"enum": ["Paris", "Bonn"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}


def assembled(chunks: Any) -> list[dict[str, Any]]:
    """What a stream said, choice by choice, in the shape of the plain answer."""
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for part in chunk.choices:
            own = choices.setdefault(part.index, {"text": "", "logprobs": [], "calls": [], "finish_reason": None})
            assert own["finish_reason"] is None, "nothing comes after the end"
            own["text"] += part.delta.content or ""
            own["calls"] += [(c.function.name, c.function.arguments) for c in part.delta.tool_calls or ()]
            own["logprobs"] += [entry.model_dump() for entry in (part.logprobs.content if part.logprobs else ())]
            own["finish_reason"] = part.finish_reason
    return [choices[index] for index in sorted(choices)]


def plain(answer: Any) -> list[dict[str, Any]]:
    return [
        {
            "text": choice.message.content or "",
            "logprobs": [entry.model_dump() for entry in (choice.logprobs.content if choice.logprobs else ())],
            "calls": [(c.function.name, c.function.arguments) for c in choice.message.tool_calls or ()],
            "finish_reason": choice.finish_reason,
        }
        for choice in answer.choices
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0},
        {"seed": 3},
        {"seed": 4, "n": 3, "temperature": 1.5, "top_p": 0.9},
        {"seed": 5, "logprobs": True, "top_logprobs": 3},
        {"seed": 7, "stop": ["e", "\n"]},
        {"seed": 8, "extra_body": {"top_k": 5, "min_p": 0.01, "repetition_penalty": 1.2}, "presence_penalty": 0.5},
        {"temperature": 0, "tools": [WEATHER]},
        {"temperature": 0, "tools": [WEATHER], "tool_choice": "required", "max_tokens": 80},
        {"temperature": 0, "response_format": {"type": "json_object"}},
    ],
    ids=str,
)  # fmt: skip
def test_streamed_is_unstreamed(server: Running, options: dict[str, Any]) -> None:
    request: Any = {"model": MODEL, "messages": HI, "max_tokens": 12, **options}
    whole = plain(server.client.chat.completions.create(**request))
    streamed = assembled(server.client.chat.completions.create(**request, stream=True))
    assert streamed == whole


def test_the_answer_is_the_engines_own(server: Running, engine: Engine) -> None:
    answer = server.client.chat.completions.create(model=MODEL, messages=HI, max_tokens=9, temperature=0)
    ids = chat_prompt(engine.tokenizer, HI)
    from glasshouse.infer import SamplingConfig

    [expected] = engine.generate([ids], SamplingConfig(max_tokens=9))
    assert answer.choices[0].message.content == expected.text
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(ids), len(expected.ids))
    assert answer.choices[0].finish_reason == expected.finish_reason


def test_the_async_client(server: Running) -> None:
    async def ask() -> tuple[Any, Any]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            request: Any = {"model": MODEL, "messages": HI, "max_tokens": 6, "seed": 1}
            whole, *others = await asyncio.gather(*(client.chat.completions.create(**request) for _ in range(4)))
            assert all(plain(other) == plain(whole) for other in others)
            return plain(whole), assembled(
                [c async for c in await client.chat.completions.create(**request, stream=True)]
            )

    whole, streamed = asyncio.run(ask())
    assert whole == streamed


def test_seeds(server: Running) -> None:
    def text(**options: Any) -> str | None:
        answer = server.client.chat.completions.create(model=MODEL, messages=HI, max_tokens=8, **options)
        return answer.choices[0].message.content

    assert text(seed=1) == text(seed=1) != text(seed=2)
    assert text() != text(), "without a seed, chance"


def test_n_answers_differ_and_the_first_is_the_one_alone(server: Running) -> None:
    request: Any = {"model": MODEL, "messages": HI, "max_tokens": 8, "seed": 1}
    three = plain(server.client.chat.completions.create(**request, n=3))
    assert three[0] == plain(server.client.chat.completions.create(**request))[0]
    assert len({answer["text"] for answer in three}) == 3


def test_logprobs(server: Running) -> None:
    answer = server.client.chat.completions.create(
        model=MODEL, messages=HI, max_tokens=5, temperature=0, logprobs=True, top_logprobs=4
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None and len(logprobs.content) == 5
    said = b"".join(bytes(token.bytes or ()) for token in logprobs.content)
    assert said.decode("utf-8", "replace") == answer.choices[0].message.content
    for token in logprobs.content:
        values = [top.logprob for top in token.top_logprobs]
        assert len(values) == 4 and values == sorted(values, reverse=True)
        assert token.logprob == pytest.approx(values[0], abs=1e-4), "greedy takes the likeliest"


def test_usage_in_a_stream_only_where_asked(server: Running) -> None:
    request: Any = {"model": MODEL, "messages": HI, "max_tokens": 4, "temperature": 0, "stream": True}
    assert all(chunk.usage is None for chunk in server.client.chat.completions.create(**request))
    *chunks, last = server.client.chat.completions.create(**request, stream_options={"include_usage": True})
    assert last.usage.completion_tokens == 4 and last.choices == [] and all(c.usage is None for c in chunks)


def test_parts_are_the_text(server: Running) -> None:
    def answer(content: Any) -> Any:
        messages: Any = [{"role": "developer", "content": content}, *HI]
        return plain(server.client.chat.completions.create(model=MODEL, messages=messages, max_tokens=6, temperature=0))

    assert answer("be brief") == answer([{"type": "text", "text": "be "}, {"type": "text", "text": "brief"}])


def test_a_stop_string_is_not_said(server: Running, engine: Engine) -> None:
    request: Any = {"model": MODEL, "messages": HI, "max_tokens": 12, "temperature": 0}
    [whole] = plain(server.client.chat.completions.create(**request))
    stop = whole["text"][4:6]
    [cut] = plain(server.client.chat.completions.create(**request, stop=stop))
    assert cut["text"] == whole["text"][: whole["text"].index(stop)] and cut["finish_reason"] == "stop"


# Structured output


class Person(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    mood: Literal["good", "bad"]
    is_here: bool


def test_structured_output_by_the_clients_own_parser(server: Running) -> None:
    answer = server.client.chat.completions.parse(
        model=MODEL, messages=HI, response_format=Person, seed=2, max_tokens=200
    )
    assert isinstance(answer.choices[0].message.parsed, Person)
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "form, is_good",
    [
        ({"type": "regex", "pattern": "[ab]{3}c"}, lambda t: len(t) == 4 and t[3] == "c" and set(t[:3]) <= set("ab")),
        ({"type": "grammar", "grammar": 'start: "yes" | "no"'}, lambda t: t in ("yes", "no")),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer", "maximum": 9}}},
            lambda t: int(t) <= 9,
        ),
    ],
)  # fmt: skip
def test_other_forms(server: Running, form: Any, is_good: Any) -> None:
    answer = server.client.chat.completions.create(
        model=MODEL, messages=HI, max_tokens=60, seed=1, extra_body={"response_format": form}
    )
    if answer.choices[0].finish_reason == "stop":
        assert is_good(answer.choices[0].message.content)
    else:
        assert form["type"] == "json_schema", "only a number can go on for ever"


def test_an_answer_cut_short_says_so(server: Running) -> None:
    answer = server.client.chat.completions.create(
        model=MODEL, messages=HI, max_tokens=2, seed=1, response_format={"type": "json_object"}
    )
    assert answer.choices[0].finish_reason == "length"


# Tools


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}], ids=str)
def test_a_forced_call_fits_its_schema(server: Running, choice: Any) -> None:
    answer = server.client.chat.completions.create(
        model=MODEL, messages=HI, tools=[WEATHER], tool_choice=choice, seed=3, max_tokens=200
    )
    [call] = answer.choices[0].message.tool_calls or []
    assert isinstance(call.function.arguments, str) and call.function.name == "weather"
    assert fits(json.loads(call.function.arguments), WEATHER["function"]["parameters"])
    assert answer.choices[0].finish_reason == "tool_calls" and answer.choices[0].message.content is None


SAID = 'Let me look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn", "days": 2}}\n</tool_call>'


@pytest.mark.parametrize("stream", [False, True])
def test_a_free_call_is_read_from_the_text(engine: Engine, stream: bool) -> None:
    with running(engine, background=Scripted(engine, SAID)) as server:
        answer = server.client.chat.completions.create(model=MODEL, messages=HI, tools=[WEATHER], stream=stream)
        [choice] = assembled(answer) if stream else plain(answer)
    assert choice["text"] == "Let me look.\n" and choice["finish_reason"] == "tool_calls"
    assert [(name, json.loads(text)) for name, text in choice["calls"]] == [("weather", {"city": "Bonn", "days": 2})]


def test_what_does_not_fit_or_was_not_asked_stays_text(engine: Engine) -> None:
    wrong = SAID.replace("Bonn", "Rome")
    with running(engine, background=Scripted(engine, wrong)) as server:
        answer = server.client.chat.completions.create(model=MODEL, messages=HI, tools=[WEATHER])
    assert answer.choices[0].message.content == wrong and not answer.choices[0].message.tool_calls
    with running(engine, background=Scripted(engine, SAID)) as server:
        answer = server.client.chat.completions.create(model=MODEL, messages=HI, tools=[WEATHER], tool_choice="none")
    assert answer.choices[0].message.content == SAID


def test_the_result_of_a_call_goes_back(server: Running) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn", "days": 1}'}}
    messages: Any = [*HI, {"role": "assistant", "content": None, "tool_calls": [call]},
                     {"role": "tool", "tool_call_id": "c1", "content": "sunny"}]  # fmt: skip
    answer = server.client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER], max_tokens=3)
    alone = server.client.chat.completions.create(model=MODEL, messages=HI, tools=[WEATHER], max_tokens=3)
    assert answer.usage.prompt_tokens > alone.usage.prompt_tokens + 10  # type: ignore[union-attr]
    again: Any = [*HI, alone.choices[0].message, *HI]  # a message of the client's own type goes back as it is
    assert server.client.chat.completions.create(model=MODEL, messages=again, max_tokens=3).choices


def test_a_model_that_doubts_holds_back_what_is_not_asked_for_word_for_word(engine: Engine) -> None:
    doubting = Engine(engine.model, engine.tokenizer)
    doubting.doubt = Doubt(below=0.999, says="Not sure.")
    with running(doubting) as server:
        ask = server.client.chat.completions.create
        options: Any = {"model": MODEL, "messages": HI, "temperature": 0, "max_tokens": 6}
        assert ask(**options).choices[0].message.content == "Not sure."
        assert assembled(ask(**options, stream=True))[0]["text"] == "Not sure."
        assert ask(**options, logprobs=True).choices[0].message.content != "Not sure."
