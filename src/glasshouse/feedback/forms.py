"""One record of a preference file, in whichever of the usual forms, as ours.

preferences   {"prompt", "chosen", "rejected"}                    texts, or messages as TRL has them
              {"chosen", "rejected"}                              whole dialogues with the same beginning: messages,
                                                                  or "\\n\\nHuman: ...\\n\\nAssistant: ..." (hh-rlhf)
              {"instruction", "input", "chosen", "rejected"}      Alpaca's, with "system" and "history" where given
              {"conversations", "chosen": {"from", "value"}, "rejected": {...}}           ShareGPT's
thumbs        {"prompt", "completion", "label"}, {"messages", "label"}, {"conversations", "label" or "kto_tag"}
rankings      {"prompt", "answers", "ranks"}: 1 is best; {"prompt", "answers", "scores"}: the highest is best

Every fault is a `DataError` in one line.  Left out: tool calls, pictures.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glasshouse.core.errors import DataError
from glasshouse.core.records import Conversation, Message, Preference, Ranking, Role, Thumb
from glasshouse.feedback.label import dense_ranks

ROLE_NAMES: dict[str, Role] = {
    "system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant",
    "model": "assistant", "bot": "assistant", "tool": "tool", "observation": "tool",
}  # fmt: skip
HH_TURN = re.compile(r"\n\n(Human|Assistant):")
ANSWER_KEYS = ("answers", "responses", "completions")
Messages = tuple[Message, ...]


def parse_preference(record: Mapping[str, Any], id: str = "") -> Preference:
    for key in ("chosen", "rejected"):
        if record.get(key) in (None, "", [], {}):
            raise DataError(f'a preference needs "chosen" and "rejected"; "{key}" is missing or empty')
    prompt, chosen, rejected = _prompt_and_answers(record)
    _check_answers(chosen, rejected)
    margin = record.get("margin")
    if margin is not None and (isinstance(margin, bool) or not isinstance(margin, int | float)):
        raise DataError(f'"margin" is a number; got {margin!r}')
    return Preference(prompt, chosen, rejected, _id(record, id), margin, _meta(record))


def _prompt_and_answers(record: Mapping[str, Any]) -> tuple[Messages, str, str]:
    for key, read in PROMPTS:
        if key in record:
            prompt = read(record)
            return prompt, _answer_after(prompt, record["chosen"]), _answer_after(prompt, record["rejected"])
    return _split_dialogues(_dialogue(record["chosen"], "chosen"), _dialogue(record["rejected"], "rejected"))


def _split_dialogues(chosen: Messages, rejected: Messages) -> tuple[Messages, str, str]:
    """What both share is the prompt; what differs must be one answer each."""
    n_shared = next((i for i, (a, b) in enumerate(zip(chosen, rejected)) if a != b), min(len(chosen), len(rejected)))
    n_shared = min(n_shared, len(chosen) - 1, len(rejected) - 1)
    if len(chosen) != n_shared + 1 or len(rejected) != n_shared + 1:
        raise DataError(
            f"the two dialogues part before their last turn (after {n_shared} of {len(chosen)} and {len(rejected)})"
        )
    prompt = chosen[:n_shared]
    _check_prompt(prompt)
    return prompt, _single_answer(chosen[-1:]), _single_answer(rejected[-1:])


def _dialogue(value: Any, name: str) -> Messages:
    if isinstance(value, list):
        return _messages(value)
    text = _text(value, name)
    parts = HH_TURN.split(text)
    if len(parts) < 5 or parts[0].strip():
        raise DataError(
            f'without a "prompt", "{name}" is a whole dialogue: messages, or text that begins "\\n\\nHuman: "'
        )
    roles: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}
    return tuple(Message(roles[role], content.strip()) for role, content in zip(parts[1::2], parts[2::2]))


def _answer_after(prompt: Messages, value: Any) -> str:
    """An answer to `prompt`: a text, a message, or messages that may repeat the prompt."""
    if isinstance(value, str):
        return _text(value, "answer")
    messages = _messages([value] if isinstance(value, Mapping) else value)
    return _single_answer(messages[len(prompt) :] if messages[: len(prompt)] == prompt else messages)


def _single_answer(messages: Messages) -> str:
    if len(messages) != 1 or messages[0].role != "assistant":
        roles = ", ".join(message.role for message in messages) or "nothing"
        raise DataError(f"an answer is one turn of the assistant; got {roles}")
    return messages[0].content


def _check_answers(chosen: str, rejected: str) -> None:
    for name, text in (("chosen", chosen), ("rejected", rejected)):
        if not text.strip():
            raise DataError(f'the "{name}" answer is empty')
    if chosen == rejected:
        raise DataError("chosen and rejected are the same text: nothing can be learned from preferring one")


# Prompts


def _prompt(record: Mapping[str, Any]) -> Messages:
    value = record["prompt"]
    messages = _messages(value) if isinstance(value, list) else (Message("user", _text(value, "prompt")),)
    return _with_system(record, messages)


def _instruction(record: Mapping[str, Any]) -> Messages:
    text = _text(record["instruction"], "instruction")
    if record.get("input"):
        text += "\n" + _text(record["input"], "input")
    history: list[Message] = []
    for turn in record.get("history") or ():
        if not isinstance(turn, Sequence) or isinstance(turn, str) or len(turn) != 2:
            raise DataError('"history" holds pairs of question and answer')
        history += [Message("user", _text(turn[0], "history")), Message("assistant", _text(turn[1], "history"))]
    return _with_system(record, (*history, Message("user", text)))


def _conversations(record: Mapping[str, Any]) -> Messages:
    return _with_system(record, _messages(record["conversations"]))


def _with_system(record: Mapping[str, Any], messages: Messages) -> Messages:
    system = record.get("system")
    messages = (Message("system", _text(system, "system")), *messages) if system else messages
    _check_prompt(messages)
    return messages


def _check_prompt(messages: Messages) -> None:
    if not messages or messages[-1].role == "assistant":
        raise DataError("the prompt is empty, or ends with the assistant's turn: there is nothing to answer")
    if not any(message.content.strip() for message in messages):
        raise DataError("the prompt is empty")


PROMPTS: tuple[tuple[str, Callable[[Mapping[str, Any]], Messages]], ...] = (
    ("prompt", _prompt), ("instruction", _instruction), ("conversations", _conversations),
)  # fmt: skip


# Thumbs and rankings


def parse_thumb(record: Mapping[str, Any], id: str = "") -> Thumb:
    label = record.get("label", record.get("kto_tag"))
    if not isinstance(label, bool) and label not in (0, 1):
        raise DataError(f'"label" says whether the answer is good: true or false; got {label!r}')
    if "completion" in record and "prompt" in record:
        prompt = _prompt(record)
        answer = _answer_after(prompt, record["completion"])
    else:
        prompt, answer = _last_turn(record)
    if not answer.strip():
        raise DataError("the answer is empty")
    return Thumb(prompt, answer, bool(label), _id(record, id), _meta(record))


def _last_turn(record: Mapping[str, Any]) -> tuple[Messages, str]:
    for key in ("messages", "conversations"):
        if key in record:
            messages = _messages(record[key])
            return _with_system(record, messages[:-1]), _single_answer(messages[-1:])
    raise DataError(
        'a thumb has "prompt", "completion" and "label", or "messages" and "label"; '
        f"this record has {', '.join(map(str, record)) or 'nothing'}"
    )


def parse_ranking(record: Mapping[str, Any], id: str = "") -> Ranking:
    answers = next((record[key] for key in ANSWER_KEYS if key in record), None)
    if "prompt" not in record or not isinstance(answers, list) or len(answers) < 2:
        raise DataError('a ranking has "prompt", "answers" (two or more) and "ranks" or "scores"')
    prompt = _prompt(record)
    texts = tuple(_answer_after(prompt, answer) for answer in answers)
    if twice := [text for text in texts if texts.count(text) > 1]:
        raise DataError(f"the ranking contradicts itself: one answer stands in it twice ({twice[0][:40]!r})")
    return Ranking(prompt, texts, tuple(_ranks(record, len(texts))), _id(record, id), _meta(record))


def _ranks(record: Mapping[str, Any], n_answers: int) -> list[int]:
    values = record.get("ranks", record.get("scores"))
    if not isinstance(values, list) or len(values) != n_answers:
        raise DataError(f'"ranks" gives one place for each of the {n_answers} answers, or "scores" one number')
    if "ranks" in record:
        return dense_ranks(values)
    if any(isinstance(score, bool) or not isinstance(score, int | float) for score in values):
        raise DataError(f'"scores" are numbers; got {values}')
    best_first = sorted(set(values), reverse=True)
    return [best_first.index(score) + 1 for score in values]


def parse_demonstration(record: Mapping[str, Any], id: str = "") -> Conversation:
    """A conversation that ends with an answer: {"messages"}, {"conversations"} or {"prompt", "completion"}."""
    if "prompt" in record and "completion" in record:
        prompt = _prompt(record)
        answer = _answer_after(prompt, record["completion"])
    else:
        prompt, answer = _last_turn(record)
    return Conversation((*prompt, Message("assistant", answer)), _id(record, id), _meta(record))


# Parts


def _messages(value: Any) -> Messages:
    if not isinstance(value, list) or not value:
        raise DataError(f"messages are a list, and not an empty one; got {str(value)[:40]!r}")
    return tuple(map(_message, value))


def _message(value: Any) -> Message:
    if not isinstance(value, Mapping):
        raise DataError(f'a message is an object with "role" and "content"; got {str(value)[:40]!r}')
    name, content = value.get("role", value.get("from")), value.get("content", value.get("value"))
    role = ROLE_NAMES.get(str(name).lower())
    if role is None:
        raise DataError(f"a message's role is one of {', '.join(ROLE_NAMES)}; got {name!r}")
    return Message(role, _text(content, "content"))


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise DataError(f'"{name}" must be a text; got {type(value).__name__}')
    return whole_characters(value)


def whole_characters(text: str) -> str:
    """Half surrogate pairs, which no file can hold, become the replacement character."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _id(record: Mapping[str, Any], otherwise: str) -> str:
    return str(record.get("id") or otherwise)


def _meta(record: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = record.get("meta") or {}
    if not isinstance(meta, Mapping):
        raise DataError(f'"meta" is an object; got {type(meta).__name__}')
    return meta
