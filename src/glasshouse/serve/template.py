"""A conversation with tools into prompt ids, through the template that the checkpoint was trained with.

A template that has a place for tools is given them as they are.  Where there is none, as in ours, they are described in
the system text (`tools.PLAIN_FORM`), and calls made earlier in the conversation stand in it as the model says them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from glasshouse.core.errors import ConfigError
from glasshouse.core.records import Message
from glasshouse.serve.tools import call_text, with_plain_tools
from glasshouse.tokenizer import ChatTemplate, Tokenizer

NO_TEMPLATE = "this model has no chat template: it was not made for conversation. Use /v1/completions"

Turn = Mapping[str, Any]  # {"role", "content": str, "tool_calls"?: [{"function": {"name", "arguments": dict}}], ...}
ToolSpec = Mapping[str, Any]  # {"type": "function", "function": {"name", "description", "parameters"}}


def chat_prompt(tokenizer: Tokenizer, turns: Sequence[Turn], tools: Sequence[ToolSpec] = ()) -> list[int]:
    """The ids after which the assistant speaks."""
    template = tokenizer.template
    if template is None:
        raise ConfigError(NO_TEMPLATE)
    if isinstance(template, ChatTemplate):
        messages = [Message(turn["role"], _plain_content(turn)) for turn in with_plain_tools(turns, tools)]
        return template.ids(tokenizer, messages, adds_generation_prompt=True)
    if tools and not template.takes_tools:
        turns, tools = with_plain_tools(turns, tools), ()
    return template.ids(tokenizer, turns, adds_generation_prompt=True, tools=tools)


def _plain_content(turn: Turn) -> str:
    """Content, then the calls that were made with it."""
    return "\n".join([*filter(None, [turn["content"]]), *map(call_text, turn.get("tool_calls", ()))])
