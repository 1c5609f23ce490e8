"""The records that cross stages.  Plain frozen dataclasses: cheap to make by the million, equal by value.

Offsets are in characters of the decoded source file.  `meta` holds JSON values only.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from glasshouse.core.errors import DataError

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its origin.  `source` is a path or a URI-like name (`stdlib:shutil`), `offset` where it starts."""

    id: str
    text: str
    source: str
    offset: int = 0
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    messages: tuple[Message, ...]
    id: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The OpenAI form: `{"id": ..., "messages": [{"role": ..., "content": ...}], "meta": {...}}`."""
        return asdict(self)

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "Conversation":
        """Inverse of `to_json`; raises `DataError` naming the fault."""
        messages = record.get("messages")
        if not isinstance(messages, list | tuple) or not messages:
            raise DataError(f'a conversation needs a non-empty list "messages"; this record has keys {sorted(record)}')
        return Conversation(
            tuple(_message(m) for m in messages), str(record.get("id", "")), dict(record.get("meta") or {})
        )


def _message(record: Any) -> Message:
    if not isinstance(record, Mapping) or not isinstance(record.get("content"), str):
        raise DataError(f'a message needs "role" and a text "content"; got {str(record)[:80]!r}')
    if record.get("role") not in ROLES:
        raise DataError(f"a message's role is one of {', '.join(ROLES)}; got {record.get('role')!r}")
    return Message(record["role"], record["content"])


@dataclass(frozen=True, slots=True)
class Question:
    """One evaluation item: any of `answers` is right; scores are grouped by `kind` and by `phrasing`."""

    id: str
    prompt: str
    answers: tuple[str, ...]
    kind: str = "exact"
    phrasing: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Preference:
    """`chosen` is the better answer to `prompt`, whose last message is not the assistant's."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    id: str = ""
    margin: float | None = None  # by how much, on the scale of whoever judged
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ranking:
    """`ranks[i]` is the place of `answers[i]`: 1 is best, equal ranks are ties."""

    prompt: tuple[Message, ...]
    answers: tuple[str, ...]
    ranks: tuple[int, ...]
    id: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Thumb:
    """One answer, found good or not."""

    prompt: tuple[Message, ...]
    answer: str
    is_good: bool
    id: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """A measured quantity with its uncertainty: `value` with a 95 % interval `[low, high]` over `count` items."""

    name: str
    value: float
    low: float
    high: float
    count: int
    unit: str = ""
