"""Private data is replaced by its kind in brackets: `Write to [EMAIL] or call [PHONE]`.

What counts is decided by the finders in `private/`, one file a kind, each saying what it leaves alone.
"""

from collections import Counter
from collections.abc import Sequence

from glasshouse.core.records import Document
from glasshouse.corpus.private.find import find_private
from glasshouse.corpus.private.fingerprint import fingerprint
from glasshouse.corpus.private.span import Span
from glasshouse.corpus.step import MapStep, Outcome, change, keep

MASKS = {
    "secret": "[SECRET]",
    "email": "[EMAIL]",
    "iban": "[IBAN]",
    "card": "[CARD]",
    "ip": "[IP]",
    "phone": "[PHONE]",
}
MARGIN_CHARS = 200


def mask_private(documents: Sequence[Document]) -> list[Outcome]:
    return [_mask_one(document) for document in documents]


def _mask_one(document: Document) -> Outcome:
    spans = find_private(document.text)
    if not spans:
        return keep(document)
    text, counts = _masked(document.text, spans)
    position = min(text.find(MASKS[kind]) for kind in counts)
    marks = sorted({fingerprint(span.kind, document.text[span.start : span.end]) for span in spans})
    return change(document, text, counts, position, tuple(marks))


def mask_text(text: str) -> tuple[str, dict[str, int]]:
    """`mask_text("ask ada@lovelace.org")` -> `("ask [EMAIL]", {"email": 1})`."""
    return _masked(text, find_private(text))


def _masked(text: str, spans: list[Span]) -> tuple[str, dict[str, int]]:
    counts = Counter(span.kind for span in spans)
    return _replaced(text, spans, 0, len(text)), dict(sorted(counts.items()))


def mask_window(text: str, start: int, end: int) -> str:
    """`text[start:end]` masked, also where private data crosses its edges; looks no further than `MARGIN_CHARS`."""
    low = max(0, start - MARGIN_CHARS)
    found = find_private(text[low : end + MARGIN_CHARS])
    spans = [Span(span.start + low, span.end + low, span.kind) for span in found]
    return _replaced(text, [span for span in spans if span.end > start and span.start < end], start, end)


def _replaced(text: str, spans: list[Span], start: int, end: int) -> str:
    pieces, position = [], start
    for span in spans:
        pieces += [text[position : span.start], MASKS[span.kind]]
        position = span.end
    return "".join([*pieces, text[position:end]])


MASK_PRIVATE = MapStep("mask_private", mask_private)
