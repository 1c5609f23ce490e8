"""What people are asked: a campaign (how), its items (what), and a task (one item as one person sees it).

An item is a prompt and the answers to judge.  Its id is a hash of both: the same file added twice adds nothing.
An answer's id is a hash too: it tells an annotator neither the model nor the place it was stored at.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import Field, model_validator

from glasshouse.core.config import Config
from glasshouse.core.errors import DataError
from glasshouse.core.records import Conversation, Message
from glasshouse.core.seeds import python_random

Kind = Literal["demonstration", "ranking", "thumbs", "rating", "edit"]
MAX_CHARS = 200_000  # of one answer, prompt message or guideline
MAX_ANSWERS = 9  # one digit of the keyboard each
MAX_LEVELS = 11  # of a rubric's scale: more are not told apart by people

# How many answers an item must have before it can be judged: (fewest, most).
ANSWERS_NEEDED: dict[str, tuple[int, int]] = {
    "demonstration": (0, 0), "ranking": (2, MAX_ANSWERS), "thumbs": (1, 1), "rating": (1, 1), "edit": (1, 1),
}  # fmt: skip


class Criterion(Config):
    """One line of a rubric: whole numbers from `low` to `high`, the higher the better."""

    name: str = Field(min_length=1, max_length=80)
    question: str = Field(default="", max_length=2000)
    low: int = 1
    high: int = 5

    @model_validator(mode="after")
    def _scale(self) -> "Criterion":
        if not 1 <= self.high - self.low < MAX_LEVELS:
            raise ValueError(f"a scale has 2 to {MAX_LEVELS} levels; got {self.low} to {self.high}")
        return self


class Campaign(Config):
    """`guidelines` is the newest version of the text, `guidelines_version` its number; the store keeps all of them."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    kind: Kind
    guidelines: str = Field(default="", max_length=MAX_CHARS)  # Markdown
    guidelines_version: int = 1
    models: tuple[str, ...] = ()  # checkpoints that answer the prompts that come without answers
    n_answers: int = Field(default=2, ge=1, le=MAX_ANSWERS)  # that each of them gives to such a prompt
    temperature: float = Field(default=0.7, ge=0, le=100)  # of these answers
    max_tokens: int = Field(default=256, ge=1)  # of one of them
    rubric: tuple[Criterion, ...] = ()
    overlap: float = Field(default=0.2, ge=0, le=1)  # share of the items that `n_overlap` people judge, to compare them
    n_overlap: int = Field(default=2, ge=2, le=50)
    test_share: float = Field(default=0.1, ge=0, le=0.5)  # of a person's tasks, as long as test questions last
    lease_s: float = Field(default=1800.0, gt=0)  # an item handed out comes back to the others after this
    seed: int = 0

    @model_validator(mode="after")
    def _rubric(self) -> "Campaign":
        names = [criterion.name for criterion in self.rubric]
        if (self.kind == "rating") != bool(names):
            raise ValueError(
                f'a rubric belongs to campaigns of the kind "rating", and they need one; this is {self.kind}'
            )
        if len(set(names)) < len(names):
            raise ValueError(f"two criteria of the rubric have the same name: {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _answers(self) -> "Campaign":
        if self.models and self.kind == "demonstration":
            raise ValueError("in a demonstration people write the answers: name no models")
        if self.kind == "ranking" and len(self.models) * self.n_answers > MAX_ANSWERS:
            raise ValueError(
                f"{len(self.models)} models with {self.n_answers} answers each are more than the {MAX_ANSWERS} that "
                "can be ranked; lower n_answers"
            )
        return self


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer to judge.  `model` is kept from the annotators."""

    text: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A prompt with the answers to judge.  `known` is the right label of a test question, in the order of `candidates`:
    `{"ranks": [1, 2]}`, `{"is_good": true}`, `{"scores": {"helpful": 5}}`."""

    prompt: tuple[Message, ...]
    candidates: tuple[Candidate, ...] = ()
    known: Mapping[str, Any] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""  # given by the store

    def answer_ids(self) -> tuple[str, ...]:
        return tuple(_digest(self.id, str(i))[:8] for i in range(len(self.candidates)))

    def to_json(self) -> dict[str, Any]:
        """The form `from_json` reads."""
        record = asdict(self)
        return {"id": record["id"], "prompt": record["prompt"], "answers": record["candidates"],
                "known": record["known"], "meta": record["meta"]}  # fmt: skip

    @staticmethod
    def from_json(record: Any) -> "Item":
        """`{"prompt": text or messages, "answers": [text or {"text", "model"}], "known": ..., "meta": ...}`.

        `messages` may stand for `prompt`; a question of an evaluation or data set, `{"question": ...}`, too.
        """
        if not isinstance(record, Mapping):
            raise DataError(f"an item is an object; this is {type(record).__name__}")
        prompt = next((record[key] for key in ("prompt", "messages", "question") if key in record), None)
        answers = record.get("answers", record.get("candidates", ()))
        if not isinstance(answers, list | tuple):
            raise DataError(f'"answers" is a list of texts; got {type(answers).__name__}')
        known, meta = record.get("known"), record.get("meta") or {}
        if not isinstance(known, Mapping | None) or not isinstance(meta, Mapping):
            raise DataError('"known" and "meta" are objects')
        return Item(read_prompt(prompt), tuple(map(_candidate, answers)), known, meta)


def read_prompt(value: Any) -> tuple[Message, ...]:
    """A text, or messages in OpenAI's form, that await an answer."""
    if isinstance(value, str):
        messages: tuple[Message, ...] = (Message("user", value),)
    elif isinstance(value, list | tuple):
        messages = Conversation.from_json({"messages": value}).messages
    else:
        raise DataError(f'an item needs a "prompt", a text or messages; got {type(value).__name__}')
    if messages[-1].role == "assistant" or not any(message.content.strip() for message in messages):
        raise DataError("a prompt ends with what awaits an answer, and is not empty")
    if any(len(message.content) > MAX_CHARS for message in messages):
        raise DataError(f"a message of the prompt is longer than {MAX_CHARS:,} characters")
    return messages


def _candidate(value: Any) -> Candidate:
    text, model = (value.get("text"), value.get("model", "")) if isinstance(value, Mapping) else (value, "")
    if not isinstance(text, str) or not isinstance(model, str) or len(text) > MAX_CHARS:
        raise DataError(f'an answer is a text of at most {MAX_CHARS:,} characters, or {{"text", "model"}}')
    return Candidate(text, model)


def check_item(campaign: Campaign, item: Item) -> None:
    """Raise `DataError` if this campaign cannot use the item."""
    fewest, most = ANSWERS_NEEDED[campaign.kind]
    n = len(item.candidates)
    if n > most or 0 < n < fewest:
        wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise DataError(
            f"an item of a {campaign.kind} campaign has {wanted} answers (or none yet); this one has {n}. "
            "To have several answers judged one by one, add an item for each."
        )
    texts = [candidate.text for candidate in item.candidates]
    if len(set(texts)) < n:
        raise DataError("two answers of one item are the same text: nobody could rank one over the other")


def item_id(campaign: str, item: Item) -> str:
    prompt = [[message.role, message.content] for message in item.prompt]
    return _digest(campaign, json.dumps([prompt, [candidate.text for candidate in item.candidates]]))[:16]


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Task:
    """An item as one annotator sees it: answers shuffled, no model names, no word on whether it is a test question."""

    campaign: str
    kind: Kind
    item_id: str
    prompt: tuple[Message, ...]
    answers: tuple[ShownAnswer, ...]
    rubric: tuple[Criterion, ...]
    guidelines_version: int
    expires_at: float  # until then nobody else is given the item in this annotator's place


def show_item(campaign: Campaign, item: Item, annotator: str, expires_at: float) -> Task:
    answers = [ShownAnswer(id, candidate.text) for id, candidate in zip(item.answer_ids(), item.candidates)]
    python_random(campaign.seed, "order", item.id, annotator).shuffle(answers)
    return Task(
        campaign.name, campaign.kind, item.id, item.prompt, tuple(answers), campaign.rubric,
        campaign.guidelines_version, expires_at,
    )  # fmt: skip


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
