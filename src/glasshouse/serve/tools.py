"""Tools: what the model is told of them, and what it says back read as calls.

A model whose template knows tools is told in its own words; any other, ours included, in `PLAIN_FORM`, in the system
text.  Two forms of answer are read as calls, which cover Qwen, Hermes, SmolLM, Llama 3 and Mistral:

    <tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>     any number, after text or alone
    {"name": "get_weather", "arguments": {"city": "Paris"}}                            the whole answer, or a list of it

A call counts when its tool exists and its arguments fit the tool's schema; else its text stays text, so nothing a
client runs was made up around it.  Left out: arguments streamed in pieces (a call comes as one delta).
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glasshouse.evals.json_schema import fits

PLAIN_FORM = """\
You can call these functions:
{functions}
To call one, answer with nothing but its name and arguments, in this form:
<tool_call>
{{"name": "function_name", "arguments": {{"parameter": "value"}}}}
</tool_call>"""

OPEN, CLOSE = "<tool_call>", "</tool_call>"
ANY_ARGUMENTS: dict[str, Any] = {"type": "object"}


def with_plain_tools(turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The conversation with the tools described at the end of its system text."""
    result = [dict(turn) for turn in turns]
    if not tools:
        return result
    functions = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
    form = PLAIN_FORM.format(functions=functions)
    if result and result[0]["role"] == "system":
        result[0]["content"] = "\n\n".join(filter(None, [result[0]["content"], form]))
        return result
    return [{"role": "system", "content": form}, *result]


def call_text(call: Mapping[str, Any]) -> str:
    """A call as the model said it."""
    function = call["function"]
    said = {"name": function["name"], "arguments": function["arguments"]}
    return f"{OPEN}\n{json.dumps(said, ensure_ascii=False)}\n{CLOSE}"


def forced_schema(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """JSON Schema of a call to one of these tools, for a grammar that lets nothing else be said."""
    calls: list[dict[str, Any]] = [
        {
            "type": "object",
            "properties": {"name": {"const": tool["function"]["name"]}, "arguments": parameters(tool)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    schema: dict[str, Any] = calls[0] if len(calls) == 1 else {"anyOf": calls}
    for key in ("$defs", "definitions"):  # a reference such as "#/$defs/city" counts from the root
        lifted = [call["properties"]["arguments"].pop(key, {}) for call in calls]
        schema |= {key: {name: value for found in lifted for name, value in dict(found).items()}} if any(lifted) else {}
    return schema


def parameters(tool: Mapping[str, Any]) -> dict[str, Any]:
    return dict(tool["function"].get("parameters") or ANY_ARGUMENTS)


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: str  # JSON
    id: str = field(default_factory=lambda: f"call_{secrets.token_hex(12)}")

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


class CallReader:
    """Splits an answer, as it comes, into text and calls.  Pieces of any cut give the same.

    push("It is <tool") -> "It is "; push('_call>{"name": ...}</tool_call>') -> ""; finish() -> ("", [Call])
    """

    def __init__(self, tools: Sequence[Mapping[str, Any]]) -> None:
        self._schemas = {tool["function"]["name"]: parameters(tool) for tool in tools}
        self._held = ""  # text that is, or may become, a call
        self._has_text = False

    def push(self, text: str) -> str:
        """The text that is certain to be text."""
        if not self._schemas:
            return text
        self._held += text
        certain = self._n_certain()
        released, self._held = self._held[:certain], self._held[certain:]
        self._has_text = self._has_text or bool(released)
        return released

    def finish(self) -> tuple[str, list[Call]]:
        """The rest of the text, and the calls."""
        held = self._held
        if not held:
            return "", []
        if not self._has_text and held.lstrip()[:1] in ("{", "["):
            calls = self._bare(held)
            return ("", calls) if calls else (held, [])
        before, *parts = held.split(OPEN)
        pieces, calls = [before], []
        for part in parts:
            said, closed, after = part.partition(CLOSE)
            found = self._bare(said)
            calls += found
            rest = after if closed else ""
            pieces.append(rest if found else f"{OPEN}{part}")
        text = "".join(pieces)
        return ("" if calls and not text.strip() else text), calls

    def _n_certain(self) -> int:
        start = self._held.lstrip()
        if not self._has_text and (not start or start[0] in "{["):
            return 0
        if (at := self._held.find(OPEN)) >= 0:
            return at
        for length in range(min(len(OPEN) - 1, len(self._held)), 0, -1):
            if OPEN.startswith(self._held[-length:]):
                return len(self._held) - length
        return len(self._held)

    def _bare(self, text: str) -> list[Call]:
        """The calls that JSON text is, all of them good; else none."""
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return []
        calls = [self._call(item) for item in (said if isinstance(said, list) else [said])]
        return [call for call in calls if call is not None] if None not in calls else []

    def _call(self, said: Any) -> Call | None:
        if not isinstance(said, Mapping) or not isinstance(said.get("name"), str):
            return None
        schema = self._schemas.get(said["name"])
        arguments = said.get("arguments", said.get("parameters", {}))
        if schema is None or not isinstance(arguments, Mapping) or not fits(arguments, schema):
            return None
        return Call(said["name"], json.dumps(arguments, ensure_ascii=False))
