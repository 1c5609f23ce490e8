"""Conversations from JSON lines or JSON, whichever of the usual forms they are in.

OpenAI     {"messages": [{"role": "user", "content": "..."}, ...]}
ShareGPT   {"conversations": [{"from": "human", "value": "..."}, ...], "system": "..."}
Alpaca     {"instruction": "...", "input": "...", "output": "...", "system": "...", "history": [["...", "..."], ...]}
pairs      {"prompt", "completion" | "response"} or {"question", "answer"}

Malformed records are kept out, each reported with its line.  So is a record marked `"label": false`: its answer is an
example of what not to say (preference learning reads it elsewhere).
Left out: tool definitions are carried in `meta["tools"]` and not written into the system message.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from glasshouse.core.errors import DataError
from glasshouse.core.records import Conversation, Message, Role
from glasshouse.corpus.formats.context import ReadContext
from glasshouse.corpus.formats.json_records import JsonValue, json_values, jsonl_values
from glasshouse.corpus.problem import OnProblem, Problem
from glasshouse.corpus.reader import MAX_DOCUMENT_CHARS
from glasshouse.corpus.sources import SourceFile, find_files

SUFFIXES = (".jsonl", ".ndjson", ".json")
ROLE_NAMES: dict[str, Role] = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "bot": "assistant",
    "bing": "assistant", "bard": "assistant", "function_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool",
}  # fmt: skip
PAIRS = (("instruction", "output"), ("prompt", "completion"), ("prompt", "response"), ("question", "answer"))
KNOWN_FORMS = (
    'known forms: {"messages": [...]} (OpenAI), {"conversations": [...]} (ShareGPT), '
    '{"instruction", "input", "output"} (Alpaca), {"prompt", "completion"}, {"question", "answer"}'
)
META_KEYS = ("tools", "source", "category", "label")


def read_conversations(path: Path | str, on_problem: OnProblem | None = None) -> Iterator[Conversation]:
    """Conversations of a file, folder or pattern, streaming.  Raises `DataError` if there is not one good record.

    `on_problem` gets each record that was kept out, with its line.
    """
    tally = _Tally(on_problem)
    n_good = 0
    for file in find_files(str(path), tally.problem):
        for conversation in _read_file(file, tally.problem):
            n_good += 1
            yield conversation
    if n_good == 0:
        raise DataError(f"{path}: no conversation in it. {tally.explain()}")


class _Tally:
    def __init__(self, on_problem: OnProblem | None) -> None:
        self._on_problem = on_problem
        self._first: list[str] = []
        self._n_problems = 0

    def problem(self, problem: Problem) -> None:
        self._n_problems += 1
        if len(self._first) < 3:
            line = f" line {problem.line}" if problem.line else ""
            self._first.append(f"{problem.source}{line}: {problem.reason}")
        if self._on_problem is not None:
            self._on_problem(problem)

    def explain(self) -> str:
        return f"{self._n_problems} problems, the first: {'; '.join(self._first)}" if self._first else KNOWN_FORMS


def _read_file(file: SourceFile, on_problem: OnProblem) -> Iterator[Conversation]:
    if file.suffix not in SUFFIXES:
        on_problem(Problem(file.source, f"conversations are read from {', '.join(SUFFIXES)} (also .gz, .zst)"))
        return
    context = ReadContext(on_problem, MAX_DOCUMENT_CHARS)
    read_values = json_values if file.suffix == ".json" else jsonl_values
    try:
        for item in read_values(file, context):
            try:
                yield _conversation(item, file)
            except DataError as error:
                context.problem(file, str(error), item.line)
    except (DataError, OSError) as error:
        context.problem(file, f"cannot be read: {getattr(error, 'strerror', None) or error}")


def _conversation(item: JsonValue, file: SourceFile) -> Conversation:
    """The record as a conversation.  It is one only if somebody asks and the assistant answers."""
    record = item.value
    messages = parse_record(record)
    meta = {key: record[key] for key in META_KEYS if record.get(key) not in (None, "", [])}
    return Conversation(messages, str(record.get("id") or f"{file.name}#{item.line}"), meta)


def parse_record(record: Any) -> tuple[Message, ...]:
    """Messages of one record in any known form; `DataError` says what is wrong with it."""
    if not isinstance(record, Mapping):
        raise DataError(f"a conversation is an object; this is {type(record).__name__}")
    if record.get("label") is False:
        raise DataError("marked as a bad answer (label is false)")
    for recognises, parse in FORMS:
        if recognises(record):
            messages = [*_system(record), *parse(record)]
            _check(messages)
            return tuple(messages)
    raise DataError(f"unknown form with keys {', '.join(map(str, list(record)[:8])) or 'none'}; {KNOWN_FORMS}")


def _check(messages: list[Message]) -> None:
    if not any(message.role == "assistant" and message.content.strip() for message in messages):
        raise DataError("no answer of the assistant in it")
    if not any(message.role in ("user", "tool") and message.content.strip() for message in messages):
        raise DataError("no question of the user in it")
    if any(message.role == "system" for message in messages[1:]):
        raise DataError("a system message must be the first")


def _system(record: Mapping[str, Any]) -> list[Message]:
    system = record.get("system")
    if system is None or system == "":
        return []
    return [Message("system", _text(system, '"system"'))]


def _parse_openai(record: Mapping[str, Any]) -> list[Message]:
    return [_message(m, "role", "content") for m in _list(record["messages"], "messages")]


def _parse_sharegpt(record: Mapping[str, Any]) -> list[Message]:
    turns = _list(record["conversations"], "conversations")
    is_openai = all(isinstance(turn, Mapping) and "role" in turn for turn in turns)
    return [_message(turn, *(("role", "content") if is_openai else ("from", "value"))) for turn in turns]


def _parse_pair(record: Mapping[str, Any]) -> list[Message]:
    question_key, answer_key = next(pair for pair in PAIRS if _has(record, pair))
    messages = []
    for turn in _list(record.get("history") or [], "history"):
        if not isinstance(turn, list | tuple) or len(turn) != 2:
            raise DataError(f'"history" holds pairs of question and answer; got {str(turn)[:60]!r}')
        messages += [Message("user", _text(turn[0], "history")), Message("assistant", _text(turn[1], "history"))]
    question = _text(record[question_key], f'"{question_key}"')
    if record.get("input"):
        question += "\n" + _text(record["input"], '"input"')
    answer = _text(record[answer_key], f'"{answer_key}"')
    return [*messages, Message("user", question), Message("assistant", answer)]


def _has(record: Mapping[str, Any], keys: tuple[str, ...]) -> bool:
    return all(key in record for key in keys)


# (recognises, parses), the first that recognises a record wins.
FORMS: tuple[tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], list[Message]]], ...] = (
    (lambda record: "messages" in record, _parse_openai),
    (lambda record: "conversations" in record, _parse_sharegpt),
    (lambda record: any(_has(record, pair) for pair in PAIRS), _parse_pair),
)


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise DataError(f'"{name}" must be a list; got {type(value).__name__}')
    return value


def _message(record: Any, role_key: str, content_key: str) -> Message:
    if not isinstance(record, Mapping):
        raise DataError(f'a message is an object with "{role_key}" and "{content_key}"; got {str(record)[:60]!r}')
    role = ROLE_NAMES.get(str(record.get(role_key, "")).lower())
    if role is None:
        raise DataError(f"unknown {role_key} {record.get(role_key)!r}; known: {', '.join(ROLE_NAMES)}")
    content = record.get(content_key)
    if content is None and record.get("tool_calls"):
        return Message(role, json.dumps(record["tool_calls"], ensure_ascii=False))
    return Message(role, _text(content, f'"{content_key}"'))


def _text(value: Any, name: str) -> str:
    """Text, or the text parts of OpenAI's list form `[{"type": "text", "text": "..."}]`."""
    if isinstance(value, list) and value and all(isinstance(part, Mapping) and "text" in part for part in value):
        value = "".join(str(part["text"]) for part in value)
    if not isinstance(value, str):
        raise DataError(f"{name} must be text; got {type(value).__name__}")
    if value.isascii():
        return value
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
