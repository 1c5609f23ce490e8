"""One thing asked of a model, and what became of it.

`prompt` is a text or messages.  What else there is depends on the kind of task: `options` are continuations to choose
from, `right` the number of the right one; `answers` are right texts; `examples` are already part of the prompt.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from glasshouse.core.files import sha256_text
from glasshouse.core.records import Message
from glasshouse.evals.language_model import Prompt


@dataclass(frozen=True, slots=True)
class Item:
    """`question` is the part of the prompt that is this item's own; `unit` says what was drawn with it."""

    number: int
    prompt: Prompt
    question: str = ""
    options: tuple[str, ...] = ()
    right: int | None = None
    answers: tuple[str, ...] = ()
    group: str = ""
    unit: str = ""

    @property
    def shown_prompt(self) -> str:
        return shown(self.prompt)

    @property
    def prompt_hash(self) -> str:
        """Of everything the model is given."""
        return sha256_text("\x00".join((self.shown_prompt, *self.options)))[:16]


@dataclass(frozen=True, slots=True)
class Answered:
    """What the model did: `answer` for a person to read, `columns` by metric (see `metrics`), `details` beside them."""

    answer: str
    columns: Mapping[str, tuple[float, ...]]
    details: Mapping[str, Any] = field(default_factory=dict)


def shown(prompt: Prompt) -> str:
    """A prompt as one text; turns of a conversation are marked by their role."""
    return prompt if isinstance(prompt, str) else "\n".join(f"[{m.role}] {m.content}" for m in prompt)


def as_chat(examples: list[tuple[str, str]], question: str, system: str | None) -> tuple[Message, ...]:
    first = [Message("system", system)] if system else []
    turns = [m for q, a in examples for m in (Message("user", q), Message("assistant", a))]
    return (*first, *turns, Message("user", question))
