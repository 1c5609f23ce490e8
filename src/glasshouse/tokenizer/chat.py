r"""Conversations to text, to ids and to a loss mask: one renderer for training, evaluation, chat and serving.

    <|im_start|>user\nWhat is 2 + 2?<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n

`JINJA_TEMPLATE` says the same in the form that transformers, vLLM and llama.cpp read from beside the weights.  It gives
the same text always, and the same ids always but in one case, on purpose: where a message's content holds a special
string ("<|im_end|>"), transformers turns it into the special id, so that a user could close his own turn and speak as
the system.  Here content is data and such a string is encoded as ordinary text (as transformers does when asked by
`sanitize_control_tokens=True`, from version 5 on).  Templates that come with other models: `jinja`.

Loss mask: True on the tokens of an assistant's content and on the <|im_end|> that closes it, computed from the spans of
the messages.  Where content begins with a line break, one token may cover the end of the header and the start of the
content; it is not a target, because at generation the header is given.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from glasshouse.core.errors import DataError
from glasshouse.core.records import ROLES, Message

JINJA_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class Placed(Protocol):
    """A token that knows the character it starts at."""

    @property
    def start(self) -> int: ...


class TextEncoder(Protocol):
    """What a template needs of a `Tokenizer`."""

    @property
    def im_start_id(self) -> int: ...

    @property
    def im_end_id(self) -> int: ...

    @property
    def special_ids(self) -> Mapping[str, int]: ...

    def encode(self, text: str) -> list[int]: ...

    def tokens_of(self, text: str) -> Sequence[Placed]: ...


@dataclass(frozen=True, slots=True)
class EncodedChat:
    """`loss_mask[i]` says whether `ids[i]` is something the model is to learn to say."""

    ids: list[int]
    loss_mask: list[bool]

    @property
    def n_targets(self) -> int:
        return sum(self.loss_mask)


class ChatTemplate:
    """The ChatML form.  It has no state: two of them are equal in all they do."""

    jinja = JINJA_TEMPLATE
    takes_tools = False  # callers who have tools describe them in a system message

    def render(self, messages: Sequence[Message], adds_generation_prompt: bool = False) -> str:
        """The conversation as text, for people.  Never encode this text: `encode` knows what is content."""
        _check(messages)
        turns = [f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n" for message in messages]
        return "".join(turns) + ("<|im_start|>assistant\n" if adds_generation_prompt else "")

    def ids(
        self, tokenizer: TextEncoder, messages: Sequence[Message], adds_generation_prompt: bool = False
    ) -> list[int]:
        """The ids alone: what a foreign template (`jinja.JinjaTemplate`) gives too."""
        return self.encode(tokenizer, messages, adds_generation_prompt).ids

    def encode(
        self, tokenizer: TextEncoder, messages: Sequence[Message], adds_generation_prompt: bool = False
    ) -> EncodedChat:
        """Ids and loss mask of a conversation; with a generation prompt, ready for the assistant's next word."""
        _check(messages)
        line_break = tokenizer.encode("\n")
        ids: list[int] = []
        mask: list[bool] = []
        for message in messages:
            header, content = _encode_turn(tokenizer, message.role, message.content)
            is_target = message.role == "assistant"
            ids += [*header, *content, tokenizer.im_end_id, *line_break]
            mask += [False] * len(header) + [is_target] * (len(content) + 1) + [False] * len(line_break)
        if adds_generation_prompt:
            header, _ = _encode_turn(tokenizer, "assistant", "")
            ids += header
            mask += [False] * len(header)
        return EncodedChat(ids, mask)


def count_targets(chats: Iterable[EncodedChat], source: str = "these conversations") -> int:
    """The number of tokens there are to learn from.  Raises `DataError` where there is none."""
    n_chats = n_targets = 0
    for chat in chats:
        n_chats += 1
        n_targets += chat.n_targets
    if n_targets == 0:
        raise DataError(
            f"{source}: {n_chats} conversations without one token to learn from, so training would change nothing. "
            'The loss is on messages with the role "assistant": check that there are some, '
            "and that they are not cut off by the sequence length."
        )
    return n_targets


def _encode_turn(tokenizer: TextEncoder, role: str, content: str) -> tuple[list[int], list[int]]:
    """(header, content).  A token that covers the end of the header and the start of the content is the header's."""
    header = f"{role}\n"
    if (whole := tokenizer.special_ids.get(f"<|im_start|>{header}")) is not None:
        return [whole], tokenizer.encode(content)
    header_ids, body = tokenizer.encode(header), tokenizer.encode(header + content)
    n_header = len(header_ids)
    if body[:n_header] != header_ids:
        n_header = sum(token.start < len(header) for token in tokenizer.tokens_of(header + content))
    return [tokenizer.im_start_id, *body[:n_header]], body[n_header:]


def _check(messages: Sequence[Message]) -> None:
    if not messages:
        raise DataError("a conversation needs at least one message; this one is empty.")
    for message in messages:
        if message.role not in ROLES:
            raise DataError(f"a message's role is one of {', '.join(ROLES)}; got {message.role!r}")
