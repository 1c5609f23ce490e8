"""Prompts of tasks: text with fields in braces, and nothing else.

    fill("Review: {text}\nIt was", {"text": "fine"}) -> "Review: fine\nIt was"

`{a.b}` looks into a record, `{a.0}` into a list; `{{` and `}}` are braces.  A list is its items, one a line.
Fields alone, and not Jinja: a task file may come from anywhere, and text that can loop, call or reach into objects is a
program.  What needs more than fields belongs into the data.
"""

from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Any

from glasshouse.core.errors import ConfigError, DataError, suggest

Record = Mapping[str, Any]


def fill(template: str, record: Record) -> str:
    """The text; a field that the record lacks raises `DataError` with the nearest name."""
    return "".join(
        literal + ("" if field is None else text_of(look_up(record, field))) for literal, field in pieces(template)
    )


def fill_blank(template: str, kept: Record) -> str:
    """The text with every field empty, but for those that are `kept`."""
    return "".join(literal + text_of(kept.get(field or "")) for literal, field in pieces(template))


def fields_of(template: str) -> list[str]:
    """`fields_of("{a} {b.c}")` -> ["a", "b.c"]."""
    return [field for _, field in pieces(template) if field is not None]


def pieces(template: str) -> Iterator[tuple[str, str | None]]:
    """(text, field that follows it)."""
    try:
        for literal, field, spec, conversion in Formatter().parse(template):
            if field is not None and (spec or conversion or not field or set("[]()!:") & set(field)):
                raise ConfigError(
                    f"{template[:60]!r}: a field is a name such as {{question}} or {{answers.0}}; got {{{field}}}. "
                    "Write {{ and }} for braces."
                )
            yield literal, field
    except ValueError as error:
        raise ConfigError(f"{template[:60]!r}: {error}. Write {{{{ and }}}} for braces.") from None


def look_up(record: Record, field: str) -> Any:
    """The value at a dotted place."""
    value: Any = record
    for part in field.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list | tuple) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            there = list(value) if isinstance(value, Mapping) else []
            allowed = f" It has: {', '.join(map(str, there))}." if there else ""
            raise DataError(f'a record has no field "{field}".{suggest(part, map(str, there))}{allowed}')
    return value


def text_of(value: Any) -> str:
    """A list is its items, one a line; None is nothing."""
    if isinstance(value, list | tuple):
        return "\n".join(map(text_of, value))
    return "" if value is None else str(value)
