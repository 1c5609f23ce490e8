"""How far a campaign is, and what somebody has to look at: disagreements and flags."""

from collections import Counter
from dataclasses import dataclass
from statistics import median

from glasshouse.feedback.campaign import ANSWERS_NEEDED, Item
from glasshouse.feedback.collected import Collected
from glasshouse.feedback.label import Label, is_same_verdict, likeness


@dataclass(frozen=True, slots=True)
class AnnotatorProgress:
    name: str
    n_labels: int
    n_skips: int
    n_flags: int
    median_seconds: float | None  # a label
    last_at: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts of items leave out test questions; `n_wanted` and `n_labels` are labels on the others."""

    n_items: int
    n_waiting: int  # for answers to be sampled or added
    n_done: int  # judged by as many people as wanted, or adjudicated
    n_wanted: int
    n_labels: int
    n_tests: int
    n_disagreements: int
    n_flags: int
    median_seconds: float | None
    annotators: tuple[AnnotatorProgress, ...]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An item that people judged differently.  `spread` is 0 (alike) to 1 (opposite), the mean over pairs of people."""

    item: Item
    labels: tuple[Label, ...]
    spread: float


@dataclass(frozen=True, slots=True)
class Flag:
    item: Item
    annotator: str
    reason: str
    at: float


def progress(collected: Collected) -> Progress:
    asked = {id: item for id, item in collected.items.items() if item.known is None}
    needed = ANSWERS_NEEDED[collected.campaign.kind][0]
    labels = [label for label in collected.labels() if label.item_id in asked]
    n_by_item, decided = Counter(label.item_id for label in labels), collected.adjudications()
    names = sorted({s.annotator for s in collected.submissions if s.action != "adjudication"})
    return Progress(
        n_items=len(asked),
        n_waiting=sum(len(item.candidates) < needed for item in asked.values()),
        n_done=sum(id in decided or n_by_item[id] >= collected.n_wanted[id] for id in asked),
        n_wanted=sum(collected.n_wanted[id] for id in asked),
        n_labels=len(labels),
        n_tests=len(collected.items) - len(asked),
        n_disagreements=len(disagreements(collected)),
        n_flags=len(flags(collected)),
        median_seconds=_median_seconds(labels),
        annotators=tuple(_annotator_progress(collected, name) for name in names),
    )


def _annotator_progress(collected: Collected, name: str) -> AnnotatorProgress:
    mine = [s for s in collected.submissions if s.annotator == name]
    labels = [label for label in collected.labels() if label.annotator == name]
    n = Counter(s.action for s in mine)
    return AnnotatorProgress(
        name, len(labels), n["skip"], n["flag"], _median_seconds(labels), max(s.at for s in mine)
    )  # fmt: skip


def _median_seconds(labels: list[Label]) -> float | None:
    seconds = [label.seconds for label in labels if label.seconds is not None]
    return median(seconds) if seconds else None


def disagreements(collected: Collected) -> list[Disagreement]:
    """Items judged differently and not yet adjudicated, the widest first.  Free texts always differ: none of them."""
    if collected.campaign.kind in ("demonstration", "edit"):
        return []
    decided = collected.adjudications()
    found = []
    for id, labels in collected.by_item().items():
        is_split = any(not is_same_verdict(labels[0].value, label.value) for label in labels[1:])
        if is_split and id not in decided and collected.items[id].known is None:
            found.append(Disagreement(collected.items[id], tuple(labels), _spread(collected, labels)))
    return sorted(found, key=lambda d: -d.spread)


def _spread(collected: Collected, labels: list[Label]) -> float:
    alike = [likeness(a.value, b.value) for i, a in enumerate(labels) for b in labels[i + 1 :]]
    return 1 - sum(alike) / len(alike)


def flags(collected: Collected) -> list[Flag]:
    """What annotators found wrong with items that are still there and not adjudicated, the latest first."""
    decided = collected.adjudications()
    return [
        Flag(collected.items[s.item_id], s.annotator, s.value["reason"], s.at)
        for s in reversed(collected.submissions)
        if s.action == "flag" and s.item_id not in decided
    ]
