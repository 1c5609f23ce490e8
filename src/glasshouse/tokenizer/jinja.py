"""A chat template that came with a model: jinja text written by others, rendered as transformers renders it.

Templates are programs from the Hub, and untrusted: they run in jinja's immutable sandbox, see plain JSON values only,
and can reach nothing outside.  What they may use is what `apply_chat_template` offers (transformers 4.44 to 5):
`messages`, `tools`, `add_generation_prompt`, the tokenizer's special tokens by name, `raise_exception`, `strftime_now`,
`tojson`, loop controls and `{% generation %}` (which marks, and prints, what is inside).

A message's content is data here too: a special string inside it never becomes a special id (see `chat`).  It is broken
before rendering by `BREAK`, a character that no text holds, and the text is cut there before it is encoded.

Left out: loss masks (a foreign template seldom says what is to be learned), images and documents.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache, cached_property, lru_cache
from typing import Any, NoReturn, Protocol

import jinja2
from jinja2 import meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from glasshouse.core.errors import DataError
from glasshouse.core.records import Message
from glasshouse.tokenizer.chat import EncodedChat

BREAK = "\ufdd0"  # a noncharacter: Unicode promises that it will never stand for anything
REPLACEMENT = "\ufffd"

AnyMessage = Message | Mapping[str, Any]
Tool = Mapping[str, Any]


class MarkedEncoder(Protocol):
    """What a foreign template needs of a `Tokenizer`."""

    @property
    def special_ids(self) -> Mapping[str, int]: ...

    @property
    def special_variables(self) -> Mapping[str, str]: ...

    def encode_marked(self, text: str) -> list[int]: ...


class JinjaTemplate:
    """`JinjaTemplate(text).ids(tokenizer, messages, adds_generation_prompt=True, tools=[...])`."""

    def __init__(self, jinja: str, jinja_for_tools: str | None = None) -> None:
        """Some models have a second template that is used where there are tools."""
        self.jinja = jinja
        self._jinja_for_tools = jinja_for_tools or jinja

    @cached_property
    def takes_tools(self) -> bool:
        """Whether the template has a place for tools; one that has not would leave them out silently."""
        return "tools" in meta.find_undeclared_variables(_environment().parse(self._jinja_for_tools))

    def render(
        self,
        messages: Sequence[AnyMessage],
        adds_generation_prompt: bool = False,
        *,
        tools: Sequence[Tool] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> str:
        """The conversation as text, for people.  `variables` are the special tokens by name (`bos_token`, ...)."""
        if not messages:
            raise DataError("a conversation needs at least one message; this one is empty.")
        if tools and not self.takes_tools:
            raise DataError("this model's chat template has no place for tools: describe them in a system message.")
        template = _compile(self._jinja_for_tools if tools else self.jinja)
        plain = [_plain(_as_mapping(message)) for message in messages]
        try:
            return template.render(
                messages=plain,
                tools=_plain(list(tools)) if tools else None,
                documents=None,
                add_generation_prompt=adds_generation_prompt,
                **(variables or {}),
            )
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise DataError(f"this model's chat template refuses the conversation: {error}") from None

    def ids(
        self,
        tokenizer: MarkedEncoder,
        messages: Sequence[AnyMessage],
        adds_generation_prompt: bool = False,
        *,
        tools: Sequence[Tool] | None = None,
    ) -> list[int]:
        """The ids of a conversation, with a generation prompt ready for the assistant's next word."""
        guard = _guard(tuple(tokenizer.special_ids))
        text = self.render(
            [_guarded(_as_mapping(message), guard) for message in messages],
            adds_generation_prompt,
            tools=_guarded(list(tools), guard) if tools else None,
            variables=tokenizer.special_variables,
        )
        return [id for part in text.split(BREAK) for id in tokenizer.encode_marked(part)]

    def encode(
        self, tokenizer: MarkedEncoder, messages: Sequence[AnyMessage], adds_generation_prompt: bool = False
    ) -> EncodedChat:
        """The prompt, in which nothing is a target.  Whole conversations, to learn from, are refused."""
        if not adds_generation_prompt:
            raise DataError(
                "this model's chat template came with it and does not say which tokens are to be learned. "
                "Fine-tune a model of ours, or one without a template."
            )
        ids = self.ids(tokenizer, messages, adds_generation_prompt)
        return EncodedChat(ids, [False] * len(ids))


def template_texts(setting: Any) -> dict[str, str]:
    """Name -> jinja text of what tokenizer_config.json holds as `chat_template`: one text, a list, or a table."""
    if isinstance(setting, str):
        return {"default": setting}
    if isinstance(setting, list):
        setting = {entry.get("name"): entry.get("template") for entry in setting if isinstance(entry, Mapping)}
    if isinstance(setting, Mapping):
        return {str(name): text for name, text in setting.items() if isinstance(text, str)}
    return {}


# What a template sees.


def _as_mapping(message: AnyMessage) -> dict[str, Any]:
    if isinstance(message, Message):
        return {"role": message.role, "content": message.content}
    return {key: value for key, value in message.items() if value is not None}  # templates test for presence


def _plain(value: Any) -> Any:
    """Built anew of JSON's own types: an object's methods would be an opening in the sandbox."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)


def _guarded(value: Any, guard: Callable[[str], str]) -> Any:
    """`value` with every special string in it broken."""
    if isinstance(value, str):
        return guard(value)
    if isinstance(value, Mapping):
        return {guard(str(key)): _guarded(item, guard) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_guarded(item, guard) for item in value]
    return value


@lru_cache(maxsize=8)
def _guard(special: tuple[str, ...]) -> Callable[[str], str]:
    """`_guard(("<s>",))("a<s>")` -> `"a<" + BREAK + "s>"`."""
    strings = sorted(filter(None, special), key=len, reverse=True)

    def guard(text: str) -> str:
        text = text.replace(BREAK, REPLACEMENT)
        for string in strings:
            text = text.replace(string, string[:1] + BREAK + string[1:])
        return text

    return guard


# The environment, as transformers makes it.


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}` prints its inside."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


@lru_cache(maxsize=8)
def _compile(text: str) -> jinja2.Template:
    try:
        return _environment().from_string(text)
    except jinja2.TemplateError as error:
        raise DataError(f"this model's chat template cannot be read: {error}. Use: glass generate") from None


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None,
             sort_keys: bool = False) -> str:  # fmt: skip
    """jinja's own filter would escape for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
