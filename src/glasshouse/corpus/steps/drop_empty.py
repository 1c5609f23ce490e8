"""Documents of nothing but white space are removed."""

from collections.abc import Sequence

from glasshouse.core.records import Document
from glasshouse.corpus.step import MapStep, Outcome, keep, remove


def drop_empty(documents: Sequence[Document]) -> list[Outcome]:
    return [
        remove(document, "empty") if not document.text or document.text.isspace() else keep(document)
        for document in documents
    ]


DROP_EMPTY = MapStep("drop_empty", drop_empty)
