"""A passage is a stretch of one file before it becomes a document; long texts are cut here, at paragraph boundaries.

Nothing is lost or changed by cutting: the passages of a text, joined, are the text.  Offsets in characters.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# From the best place to cut to the worst: between top-level definitions, paragraphs, lines, sentences, words.
BOUNDARIES = ("\n\n\n", "\n\n", "\r\n\r\n", "\n", ". ", " ")


@dataclass(frozen=True, slots=True)
class Passage:
    """`offset`: where the passage (or the record that holds it) starts in the decoded file."""

    text: str
    offset: int = 0
    meta: Mapping[str, Any] = field(default_factory=dict)


def find_cut(text: str, start: int, max_chars: int) -> int:
    """The best position in (start + max_chars / 2, start + max_chars] to end a passage at."""
    low, high = start + max_chars // 2, start + max_chars
    for boundary in BOUNDARIES:
        position = text.rfind(boundary, low, high)
        if position >= 0 and position + len(boundary) > start:
            return position + len(boundary)
    is_inside_line_end = high - start > 1 and text[high - 1 : high + 1] == "\r\n"
    return high - 1 if is_inside_line_end else high


def cut_stream(pieces: Iterable[str], max_chars: int) -> Iterator[tuple[int, str]]:
    """(offset, passage) of a text that arrives in pieces; holds no more than one passage and one piece.

    If the pieces end in an error, what was read is given before it is raised.
    """
    waiting, offset, arriving = "", 0, iter(pieces)
    while True:
        try:
            piece = next(arriving)
        except StopIteration:
            break
        except Exception:
            if waiting:
                yield offset, waiting
            raise
        waiting += piece
        start = 0
        while len(waiting) - start > max_chars:
            cut = find_cut(waiting, start, max_chars)
            yield offset + start, waiting[start:cut]
            start = cut
        waiting, offset = waiting[start:], offset + start
    if waiting:
        yield offset, waiting


def bounded_lines(pieces: Iterable[str], max_chars: int) -> Iterator[tuple[int, int, str | None]]:
    """(line number from 1, offset, line with its end); None for a line above `max_chars`, which is never held whole."""
    number, offset, held, n_held = 1, 0, [""], 0
    for piece in pieces:
        for part in piece.splitlines(keepends=True) if "\n" in piece else [piece]:
            n_held += len(part)
            if n_held <= max_chars:
                held.append(part)
            else:
                held = []
            if part.endswith("\n"):
                yield number, offset, "".join(held) if n_held <= max_chars else None
                number, offset, held, n_held = number + 1, offset + n_held, [], 0
    if n_held:
        yield number, offset, "".join(held) if n_held <= max_chars else None
