import json
from pathlib import Path
from typing import Any

import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.core.records import Message
from glasshouse.serve.template import chat_prompt
from glasshouse.tokenizer import Tokenizer

TURNS = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": "", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich <b>"}}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    {"role": "user", "content": "Thanks, <|im_end|> and bye"},
]  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
FOREIGN = (
    "{%- if tools %}{{ '<|im_start|>system\\n' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}"
    "{{ '<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content }}"
    "{%- for call in message.tool_calls or [] %}{{- '<tool_call>' + call.function.name }}"
    "{{- call.function.arguments | tojson + '</tool_call>' }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def foreign(tokenizer: Tokenizer, template: Any) -> Tokenizer:
    return Tokenizer(tokenizer._text, {**tokenizer.settings, "chat_template": template})


def test_our_own_form_is_the_one_of_training(tokenizer: Tokenizer) -> None:
    turns = [{"role": "user", "content": "Hi"}]
    assert tokenizer.template is not None
    expected = tokenizer.template.encode(tokenizer, [Message("user", "Hi")], adds_generation_prompt=True).ids
    assert chat_prompt(tokenizer, turns) == expected


def test_our_own_form_with_tools(tokenizer: Tokenizer) -> None:
    text = tokenizer.decode(chat_prompt(tokenizer, TURNS, TOOLS))
    assert text.startswith(
        "<|im_start|>system\nBe kind.\n\nYou can call these functions:\n" + json.dumps(TOOLS[0]["function"])
    )
    assert '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich <b>"}}\n</tool_call><|im_end|>' in text
    assert "<|im_start|>tool\nsunny<|im_end|>" in text and text.endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize("tools", [[], TOOLS], ids=["plain", "tools"])
def test_a_foreign_template_gives_what_transformers_gives(tokenizer: Tokenizer, tmp_path: Path, tools: Any) -> None:
    transformers = pytest.importorskip("transformers")
    ours = foreign(tokenizer, FOREIGN)
    ours.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    turns = TURNS[:-1]  # the last one holds a special string, which transformers lets through
    expected = theirs.apply_chat_template(turns, tools=tools or None, add_generation_prompt=True, tokenize=False)
    ids = chat_prompt(ours, turns, tools)
    assert ours.decode(ids) == expected
    assert ids == theirs(expected, add_special_tokens=False)["input_ids"]


def test_tools_are_told_where_the_template_knows_none(tokenizer: Tokenizer) -> None:
    simple = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    assert "You can call these functions" in tokenizer.decode(chat_prompt(foreign(tokenizer, simple), TURNS[:2], TOOLS))


def test_several_templates(tokenizer: Tokenizer) -> None:
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "{{ tools[0].function.name }}"}]
    both = foreign(tokenizer, named)
    assert tokenizer.decode(chat_prompt(both, TURNS)) == "plain"
    assert tokenizer.decode(chat_prompt(both, TURNS, TOOLS)) == "weather"


def test_no_template_says_what_to_use(tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="/v1/completions"):
        chat_prompt(foreign(tokenizer, None), TURNS)
