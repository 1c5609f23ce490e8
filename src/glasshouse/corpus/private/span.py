"""A stretch of text that holds private data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """`text[start:end]` is of `kind` (a key of `find.FINDERS`)."""

    start: int
    end: int
    kind: str
