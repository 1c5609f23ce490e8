import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse.evals.json_schema import fits
from glasshouse.serve.tools import CallReader, call_text, forced_schema, with_plain_tools

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Now", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock"}}
GOOD = '{"name": "weather", "arguments": {"city": "Paris"}}'


def read(text: str, tools: list[Any], cuts: list[int] | None = None) -> tuple[str, list[tuple[str, Any]]]:
    """Text and calls, the answer coming in pieces cut at `cuts`."""
    reader, places = CallReader(tools), sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts or ())})
    pieces = [reader.push(text[a:b]) for a, b in pairwise(places)]
    rest, calls = reader.finish()
    return "".join(pieces) + rest, [(call.name, json.loads(call.arguments)) for call in calls]


PARIS = ("weather", {"city": "Paris"})


@pytest.mark.parametrize(
    "text, expected",
    [
        (f"<tool_call>\n{GOOD}\n</tool_call>", ("", [PARIS])),
        (f"Let me see.<tool_call>{GOOD}</tool_call>", ("Let me see.", [PARIS])),
        (f"<tool_call>{GOOD}</tool_call>\n<tool_call>{GOOD}</tool_call>", ("", [PARIS, PARIS])),
        (f"<tool_call>{GOOD}", ("", [PARIS])),  # the end token came first
        (GOOD, ("", [PARIS])),
        (f"  [{GOOD}, {GOOD}]", ("", [PARIS, PARIS])),
        ('{"name": "weather", "parameters": {"city": "Paris"}}', ("", [PARIS])),  # Llama 3 says parameters
        ('{"name": "clock"}', ("", [("clock", {})])),
        # not calls: they stay text
        ("Just text with a < and a { in it", ("Just text with a < and a { in it", [])),
        ('{"name": "wether", "arguments": {"city": "Paris"}}', None),
        ('{"name": "weather", "arguments": {"city": 3}}', None),
        ('{"name": "weather", "arguments": {}}', None),
        ('<tool_call>{"name": "weather", "arguments": "Paris"}</tool_call>', None),
        ("<tool_call>not json</tool_call> and more", None),
        ('{"answer": 42}', None),
        ("<tool_cal", None),
    ],
)
def test_what_is_a_call(text: str, expected: Any) -> None:
    assert read(text, [WEATHER, CLOCK]) == (expected or (text, []))


PARTS = ["<tool_call>", "</tool_call>", GOOD, "<", "{", "text ", "\n", "<tool", "[", "]"]


@given(st.lists(st.sampled_from(PARTS), max_size=6), st.lists(st.integers(0, 200), max_size=5))
def test_pieces_of_any_cut_give_the_same(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    assert read(text, [WEATHER], cuts) == read(text, [WEATHER])


@given(st.text(alphabet="<tol_ca{ ", max_size=30))
def test_text_without_calls_comes_through_whole(text: str) -> None:
    assert read(text, [WEATHER]) == (text, [])


def test_text_is_not_held_back_without_need() -> None:
    reader = CallReader([WEATHER])
    assert reader.push("It is ") == "It is "
    assert reader.push("<too") == ""
    assert reader.push("lbox>") == "<toolbox>"


def test_the_system_text_carries_the_tools() -> None:
    for turns in ([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
                  [{"role": "user", "content": "Hi"}]):  # fmt: skip
        system, *rest = with_plain_tools(turns, [WEATHER])
        assert system["role"] == "system" and json.dumps(CITY) in system["content"] and rest == turns[-1:]
    assert with_plain_tools(turns, []) == turns


def test_a_call_reads_back_as_it_was_said() -> None:
    said = call_text({"function": {"name": "weather", "arguments": {"city": "Zürich"}}})
    assert read(said, [WEATHER]) == ("", [("weather", {"city": "Zürich"})])


def test_forced_schema_takes_calls_of_these_tools_alone() -> None:
    schema = forced_schema([WEATHER, CLOCK])
    assert fits(json.loads(GOOD), schema) and fits({"name": "clock", "arguments": {}}, schema)
    assert not fits({"name": "clock"}, schema) and not fits({"name": "other", "arguments": {}}, schema)
    assert not fits({"name": "weather", "arguments": {"city": 1}}, schema)


def test_definitions_of_a_tool_move_to_the_root() -> None:
    inner = {"type": "object", "properties": {"c": {"$ref": "#/$defs/c"}}, "$defs": {"c": {"enum": ["a", "b"]}}}
    schema = forced_schema([{"function": {"name": "f", "parameters": inner}}])
    assert fits({"name": "f", "arguments": {"c": "a"}}, schema)
    assert not fits({"name": "f", "arguments": {"c": "z"}}, schema)
    assert inner["$defs"], "the tool itself is not changed"
