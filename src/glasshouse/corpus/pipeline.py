"""Runs steps over a stream of documents in batches, and records every document removed or changed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glasshouse.core.errors import ConfigError, suggest
from glasshouse.core.records import Document
from glasshouse.corpus.step import KeyStep, MapStep, Outcome, Step, keep, remove
from glasshouse.corpus.steps.dedup_exact import DEDUP_EXACT
from glasshouse.corpus.steps.drop_empty import DROP_EMPTY
from glasshouse.corpus.steps.mask_private import MASK_PRIVATE, mask_window
from glasshouse.corpus.steps.normalize import NORMALIZE
from glasshouse.corpus.steps.repair_unicode import REPAIR_UNICODE

# In the order they run by default.
STEPS: dict[str, Step] = {
    "repair_unicode": REPAIR_UNICODE,
    "normalize": NORMALIZE,
    "drop_empty": DROP_EMPTY,
    "mask_private": MASK_PRIVATE,
    "dedup_exact": DEDUP_EXACT,
}
EXCERPT_CHARS = 80
BATCH_DOCUMENTS = 256
BATCH_CHARS = 2_000_000  # whichever comes first: long documents must not add up in memory

OnRecord = Callable[[Mapping[str, Any]], None]


@dataclass(slots=True)
class StepTally:
    """What one step did.  `reasons` counts removed documents, or places changed."""

    name: str
    n_in: int = 0
    n_removed: int = 0
    n_changed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


def find_steps(names: Sequence[str]) -> list[Step]:
    """The steps of these names, in this order."""
    for name in names:
        if name not in STEPS:
            raise ConfigError(
                f'no cleaning step is named "{name}".{suggest(name, STEPS)} Steps: {", ".join(STEPS)}. '
                "They run in the order given."
            )
    return [STEPS[name] for name in names]


class Pipeline:
    """`run` may be called for one stream after another: duplicates are found across all of them.

    `on_record` gets {id, source, offset, step, action: "removed" | "changed", reason, excerpt}, and marks where private
    data was masked.
    """

    def __init__(self, steps: Sequence[Step], on_record: OnRecord) -> None:
        self._steps = tuple(steps)
        self._on_record = on_record
        self.tallies = [StepTally(step.name) for step in self._steps]
        self._first_of_key: list[dict[bytes, str]] = [{} for _ in self._steps]
        for step in self._steps:
            if isinstance(step, MapStep) and step.prepare is not None:
                step.prepare()

    def run(self, documents: Iterable[Document]) -> Iterator[Document]:
        for batch in batches(documents):
            for number, step in enumerate(self._steps):
                outcomes = self._outcomes(step, number, batch)
                self._count(self.tallies[number], batch, outcomes)
                batch = [outcome.document for outcome in outcomes if outcome.document is not None]
            yield from batch

    def _outcomes(self, step: Step, number: int, batch: list[Document]) -> list[Outcome]:
        if isinstance(step, MapStep):
            return step.apply(batch)
        keys = step.key(batch)
        return [_keep_first(step, key, document, self._first_of_key[number]) for key, document in zip(keys, batch)]

    def _count(self, tally: StepTally, batch: list[Document], outcomes: list[Outcome]) -> None:
        tally.n_in += len(batch)
        for document, outcome in zip(batch, outcomes, strict=True):
            if not outcome.reasons:
                continue
            is_removed = outcome.document is None
            tally.n_removed += is_removed
            tally.n_changed += not is_removed
            for reason, count in outcome.reasons.items():
                kind = reason.partition(": ")[0]
                tally.reasons[kind] = tally.reasons.get(kind, 0) + count
            self._on_record(_record(document, tally.name, outcome))


def _keep_first(step: KeyStep, key: bytes, document: Document, first_of_key: dict[bytes, str]) -> Outcome:
    first = first_of_key.setdefault(key, document.id)
    if first is document.id:
        return keep(document)
    return remove(document, f"{step.reason}: {first}")


def _record(document: Document, step: str, outcome: Outcome) -> dict[str, Any]:
    is_removed = outcome.document is None
    reasons = outcome.reasons.items()
    text = document.text if outcome.document is None else outcome.document.text
    return {
        "id": document.id,
        "source": document.source,
        "offset": document.offset,
        "step": step,
        "action": "removed" if is_removed else "changed",
        "reason": ", ".join(reason if is_removed else f"{count} {reason}" for reason, count in reasons),
        "excerpt": excerpt(text, outcome.position),
        **({"marks": list(outcome.marks)} if outcome.marks else {}),
    }


def excerpt(text: str, position: int) -> str:
    """One line of at most `EXCERPT_CHARS` characters around `position`, private data masked whatever the steps are."""
    start = max(0, position - EXCERPT_CHARS // 3)
    return " ".join(mask_window(text, start, start + 2 * EXCERPT_CHARS).split())[:EXCERPT_CHARS]


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Lists of at most `BATCH_DOCUMENTS` documents and, but for a last one that goes over, `BATCH_CHARS` characters."""
    batch: list[Document] = []
    n_chars = 0
    for document in documents:
        batch.append(document)
        n_chars += len(document.text)
        if len(batch) >= BATCH_DOCUMENTS or n_chars >= BATCH_CHARS:
            yield batch
            batch, n_chars = [], 0
    if batch:
        yield batch
