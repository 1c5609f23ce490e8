"""What a cleaning step is: a pure function over a batch of documents, so that any engine can run it.

Two kinds.  A `MapStep` turns each document into an `Outcome`: kept, changed or removed, with the reasons.  A `KeyStep`
gives each document a key, and the engine keeps the first document of each key: only the engine sees all of them (here a
set; on Daft or Ray a shuffle).  Neither holds state, both are module-level functions, so they pickle, and their results
do not depend on how documents fall into batches.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from glasshouse.core.records import Document


@dataclass(frozen=True, slots=True)
class Outcome:
    """`document` is None where it was removed; `reasons` is empty where it was left as it is.

    `position` is where in the text the change shows; the engine takes its excerpt there.  `marks` recognise what was
    taken out without telling it (`private.fingerprint`).
    """

    document: Document | None
    reasons: Mapping[str, int] = field(default_factory=dict)
    position: int = 0
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MapStep:
    """`prepare` is called once before the first document: it refuses to start without what the step needs."""

    name: str
    apply: Callable[[Sequence[Document]], list[Outcome]]
    prepare: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class KeyStep:
    """Keeps the first document of each key; the others are removed with `reason`."""

    name: str
    key: Callable[[Sequence[Document]], list[bytes]]
    reason: str


Step = MapStep | KeyStep


def keep(document: Document) -> Outcome:
    return Outcome(document)


def change(
    document: Document, text: str, reasons: Mapping[str, int], position: int = 0, marks: tuple[str, ...] = ()
) -> Outcome:
    """`position`: where in the new text the change shows."""
    return Outcome(replace(document, text=text), reasons, position, marks)


def remove(document: Document, reason: str) -> Outcome:
    return Outcome(None, {reason: 1})
