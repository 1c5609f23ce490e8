"""One form for the same text: line ends, byte order marks, control characters, and composed characters (NFC)."""

import re
import unicodedata
from collections.abc import Sequence

from glasshouse.core.records import Document
from glasshouse.corpus.step import MapStep, Outcome, change, keep

# All of C0 but tab and newline (form feeds separate sections of old sources and mean nothing to a model), and DEL.
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
TERMINAL_COLOURS = re.compile("\x1b\\[[0-9;?]{0,32}[A-Za-z]")


def normalize(documents: Sequence[Document]) -> list[Outcome]:
    return [_normalize_one(document) for document in documents]


def _normalize_one(document: Document) -> Outcome:
    text, reasons = document.text, {}
    for reason, repair in REPAIRS.items():
        repaired = repair(text)
        if repaired != text:
            reasons[reason] = 1
            text = repaired
    return change(document, text, reasons) if reasons else keep(document)


def _unify_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _drop_control(text: str) -> str:
    if "\x1b" in text:
        text = TERMINAL_COLOURS.sub("", text)
    return CONTROL.sub("", text)


def _compose(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text.replace("\ufeff", ""))


REPAIRS = {"line ends": _unify_line_ends, "control characters": _drop_control, "composed characters": _compose}

NORMALIZE = MapStep("normalize", normalize)
