"""JSON lines and JSON files as records, streaming: a 10 GB array is read value by value.

Damaged lines of a .jsonl are kept out, each recorded with its number.  A damaged .json is read up to the damage.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from glasshouse.core.errors import DataError
from glasshouse.corpus.formats.context import MAX_RECORD_CHARS, ReadContext, open_text
from glasshouse.corpus.formats.record import TEXT_FIELDS, explain_no_text, record_text
from glasshouse.corpus.passage import Passage, bounded_lines
from glasshouse.corpus.sources import SourceFile

SEPARATORS = re.compile(r"[\s,\ufeff]*")
NOT_JSON = (ValueError, RecursionError)  # RecursionError: brackets nested a thousand deep


@dataclass(frozen=True, slots=True)
class JsonValue:
    """One value of a file; `raw` is its JSON text where it is the file's only top-level object, else empty."""

    value: Any
    offset: int
    line: int
    raw: str = ""


def read_jsonl(file: SourceFile, context: ReadContext) -> Iterator[Passage]:
    for item in jsonl_values(file, context):
        text = record_text(item.value, context.text_field)
        if text is None:
            context.problem(file, explain_no_text(item.value, context.text_field), item.line)
        else:
            yield Passage(text, item.offset, {"line": item.line})


def read_json(file: SourceFile, context: ReadContext) -> Iterator[Passage]:
    """Each record of an array (or of values one after another); a lone object without a text field as it stands."""
    for item in json_values(file, context):
        is_plain_object = item.raw and not any(field in item.value for field in (context.text_field, *TEXT_FIELDS))
        text = item.raw if is_plain_object else record_text(item.value, context.text_field)
        if text is None:
            context.problem(file, explain_no_text(item.value, context.text_field), item.line)
        else:
            yield Passage(text, item.offset, {"line": item.line})


def jsonl_values(file: SourceFile, context: ReadContext) -> Iterator[JsonValue]:
    with open_text(file, context) as pieces:
        for number, offset, line in bounded_lines(pieces or (), MAX_RECORD_CHARS):
            if line is None:
                context.problem(file, f"line longer than {MAX_RECORD_CHARS // 1_000_000} million characters", number)
                continue
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except NOT_JSON as error:
                context.problem(file, f"not valid JSON: {_explain(error)}", number)
                continue
            yield JsonValue(value, offset, number)


def json_values(file: SourceFile, context: ReadContext) -> Iterator[JsonValue]:
    with open_text(file, context) as pieces:
        if pieces is None:
            return
        stream = _ValueStream(pieces)
        try:
            yield from stream.values()
        except DataError as error:
            context.problem(file, str(error), stream.line)


class _ValueStream:
    """JSON values one after another, or those of one top-level array, from text in pieces."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._decoder = json.JSONDecoder()
        self._text, self._position, self._dropped = "", 0, 0
        self._is_ended = False
        self.line = 1

    def values(self) -> Iterator[JsonValue]:
        is_in_array = False
        while self._skip_separators():
            character = self._text[self._position]
            if character == "[" and not is_in_array:
                is_in_array = True
                self._position += 1
            elif character == "]" and is_in_array:
                is_in_array = False
                self._position += 1
            else:
                yield self._next_value(is_in_array)
        if is_in_array:
            raise DataError("not valid JSON: the file ends inside its array")

    def _next_value(self, is_in_array: bool) -> JsonValue:
        value, end = self._decode()
        start, line = self._position, self.line
        is_lone_object = not is_in_array and start + self._dropped == 0 and isinstance(value, dict)
        raw = self._text[start:end] if is_lone_object else ""
        offset = self._dropped + start
        self._move_to(end)
        if raw and self._skip_separators():  # more values follow: records, not one object
            raw = ""
        return JsonValue(value, offset, line, raw)

    def _decode(self) -> tuple[Any, int]:
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._position)
                if end < len(self._text) or self._is_ended or isinstance(value, dict | list | str):
                    return value, end
            except NOT_JSON as error:
                if self._is_ended or not self._may_be_cut(error):
                    raise DataError(f"not valid JSON from here on: {_explain(error)}") from None
            self._grow()

    def _may_be_cut(self, error: Exception) -> bool:
        """Whether the value may only be incomplete: the fault lies at the end of what has been read."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - 16

    def _grow(self) -> None:
        """Read as much again as is waiting: each retry doubles, so the whole stays linear."""
        if len(self._text) - self._position > MAX_RECORD_CHARS:
            raise DataError(f"a value longer than {MAX_RECORD_CHARS // 1_000_000} million characters")
        parts, n_wanted = [self._text[self._position :]], len(self._text) - self._position
        self._dropped += self._position
        self._position = 0
        while n_wanted >= 0 and not self._is_ended:
            piece = next(self._pieces, None)
            self._is_ended = piece is None
            parts.append(piece or "")
            n_wanted -= len(piece or "") + 1
        self._text = "".join(parts)

    def _skip_separators(self) -> bool:
        """Move to the next character of a value; False at the end of the file."""
        while True:
            match = SEPARATORS.match(self._text, self._position)
            self._move_to(match.end() if match else self._position)
            if self._position < len(self._text):
                return True
            if self._is_ended:
                return False
            self._grow()

    def _move_to(self, position: int) -> None:
        self.line += self._text.count("\n", self._position, position)
        self._position = position


def _explain(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (column {error.colno})"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
