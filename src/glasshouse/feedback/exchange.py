"""Preferences, thumbs, rankings and demonstrations from files and into files that TRL and others read.

JSON lines, or JSON (an array, or an object with the array in "data").  A record that cannot be used is left out and
reported with its line (of a .jsonl) or its number (of a .json), counted from 1; the forms are told in `forms.py`.
Written are TRL's conversational forms, one record a line:

    preferences   {"prompt": [messages], "chosen": [message], "rejected": [message], "margin"?, "id"?, "meta"?}
    thumbs        {"prompt": [messages], "completion": [message], "label": true, ...}
    conversations {"messages": [messages], ...}
    rankings      {"prompt": [messages], "answers": [texts], "ranks": [1, 2, ...], ...}      (TRL has no form for them)
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from glasshouse.core.errors import DataError
from glasshouse.core.files import atomic_open
from glasshouse.core.records import Conversation, Message, Preference, Ranking, Thumb
from glasshouse.feedback.campaign import Item
from glasshouse.feedback.forms import (
    parse_demonstration,
    parse_preference,
    parse_ranking,
    parse_thumb,
    whole_characters,
)  # fmt: skip
from glasshouse.feedback.records import OnProblem, Record

T = TypeVar("T")


def read_preferences(path: Path | str, on_problem: OnProblem | None = None) -> Iterator[Preference]:
    return _read(Path(path), parse_preference, "preference", on_problem)


def read_thumbs(path: Path | str, on_problem: OnProblem | None = None) -> Iterator[Thumb]:
    return _read(Path(path), parse_thumb, "thumb", on_problem)


def read_rankings(path: Path | str, on_problem: OnProblem | None = None) -> Iterator[Ranking]:
    """Rankings; a preference is one of two answers."""
    return _read(Path(path), _ranking_or_preference, "ranking", on_problem)


def read_demonstrations(path: Path | str, on_problem: OnProblem | None = None) -> Iterator[Conversation]:
    return _read(Path(path), parse_demonstration, "demonstration", on_problem)


def read_items(path: Path | str, on_problem: OnProblem | None = None) -> Iterator[Item]:
    """Prompts of a campaign, with answers or without: `Item.from_json`."""
    return _read(Path(path), lambda record, _: Item.from_json(record), "prompt", on_problem)


def _ranking_or_preference(record: Mapping[str, Any], id: str) -> Ranking:
    if "chosen" not in record and "rejected" not in record:
        return parse_ranking(record, id)
    pair = parse_preference(record, id)
    return Ranking(pair.prompt, (pair.chosen, pair.rejected), (1, 2), pair.id, pair.meta)


def _read(
    path: Path, parse: Callable[[Mapping[str, Any], str], T], what: str, on_problem: OnProblem | None
) -> Iterator[T]:
    """Raises `DataError` if there is not one good record, with the first faults."""
    first: list[str] = []
    n_good = 0
    for number, value in _values(path):
        try:
            if isinstance(value, Exception):
                raise DataError(f"not valid JSON: {value}")
            if not isinstance(value, Mapping):
                raise DataError(f"a record is an object; this is {type(value).__name__}")
            record = parse(value, f"{path.name}#{number}")
        except DataError as error:
            first += [f"{number}: {error}"] if len(first) < 3 else []
            if on_problem is not None:
                on_problem(number, str(error))
            continue
        n_good += 1
        yield record
    if n_good == 0:
        faults = f" The first faults, by line or number: {'; '.join(first)}" if first else " It is empty."
        raise DataError(f"{path}: not one usable {what} in it.{faults}")


def _values(path: Path) -> Iterator[tuple[int, Any]]:
    """(line or number, value or the error in its place)."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            is_lines = path.suffix in (".jsonl", ".ndjson")
            yield from _lines(file) if is_lines else enumerate(_array(file.read()), 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _lines(file: Iterable[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, 1):
        if line.strip("\ufeff \t\r\n"):
            try:
                yield number, json.loads(line.lstrip("\ufeff"))
            except (ValueError, RecursionError) as error:
                yield number, error


def _array(text: str) -> list[Any]:
    try:
        value = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        return [error]
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    return value if isinstance(value, list) else [value]


# Writing


def write_records(path: Path | str, records: Iterable[Record]) -> int:
    """Write records of any of the four types, one a line, whole or not at all; returns how many."""
    n_written = 0
    with atomic_open(Path(path)) as file:
        for record in records:
            file.write(whole_characters(json.dumps(to_json(record), ensure_ascii=False)) + "\n")
            n_written += 1
    return n_written


def write_preferences(path: Path | str, preferences: Iterable[Preference]) -> int:
    return write_records(path, preferences)


def write_thumbs(path: Path | str, thumbs: Iterable[Thumb]) -> int:
    return write_records(path, thumbs)


def write_rankings(path: Path | str, rankings: Iterable[Ranking]) -> int:
    return write_records(path, rankings)


def write_conversations(path: Path | str, conversations: Iterable[Conversation]) -> int:
    return write_records(path, conversations)


def to_json(record: Record) -> dict[str, Any]:
    """The record as it is written; empty ids, margins and meta are left out."""
    extra = {"id": record.id, "margin": getattr(record, "margin", None), "meta": dict(record.meta)}
    return {**_content(record), **{key: value for key, value in extra.items() if value not in (None, "", {})}}


def _content(record: Record) -> dict[str, Any]:
    if isinstance(record, Conversation):
        return {"messages": _plain(record.messages)}
    if isinstance(record, Preference):
        return {"prompt": _plain(record.prompt), "chosen": _answer(record.chosen), "rejected": _answer(record.rejected)}
    if isinstance(record, Thumb):
        return {"prompt": _plain(record.prompt), "completion": _answer(record.answer), "label": record.is_good}
    return {"prompt": _plain(record.prompt), "answers": list(record.answers), "ranks": list(record.ranks)}


def _plain(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [asdict(message) for message in messages]


def _answer(text: str) -> list[dict[str, str]]:
    return _plain([Message("assistant", text)])
