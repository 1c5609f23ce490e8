"""Marks on a track and parts of a bar: where a score and its interval lie, in percent of the width."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from glasshouse.report.records import Record
from glasshouse.report.units import format_interval, format_score, format_share, is_share


@dataclass(frozen=True)
class DotRow:
    """`at`, `low`, `high` in percent of the track's width."""

    label: str
    value: str
    range: str
    at: float
    low: float
    high: float
    is_last: bool = False


@dataclass(frozen=True)
class DotPanel:
    title: str
    hint: str
    rows: list[DotRow]
    is_main: bool = True


def dot_rows(rows: Sequence[tuple[str, Record]]) -> list[DotRow]:
    """Shares on a track from 0 to 1, everything else from 0, or the lowest where that is below, to the highest."""
    is_percent = all(is_share(score.get("unit", "")) for _, score in rows)
    start = 0.0 if is_percent else 1.05 * min([0.0, *(score["low"] for _, score in rows)])
    end = 1.0 if is_percent else 1.05 * max([0.0, *(score["high"] for _, score in rows)])
    width = end - start or 1.0
    made = []
    for number, (label, score) in enumerate(rows, 1):
        unit = score.get("unit", "")
        at, low, high = (min(100.0, max(0.0, 100 * (score[k] - start) / width)) for k in ("value", "low", "high"))
        shown = format_score(score["value"], unit), format_interval(score["low"], score["high"], unit)
        made.append(DotRow(label, *shown, at, low, high, is_last=number == len(rows)))
    return made


@dataclass(frozen=True)
class Part:
    """A part of a bar, in percent."""

    label: str
    at: float
    share: float
    tone: str

    @property
    def shown(self) -> str:
        return format_share(self.share / 100)


def parts_of(parts: Iterable[tuple[str, float, str]]) -> list[Part]:
    """From (label, share, tone): each part begins where the one before it ends."""
    made, at = [], 0.0
    for label, share, tone in parts:
        percent = max(0.0, 100 * share)
        made.append(Part(label, at, percent, tone))
        at += percent
    return made


def parts_of_counts(counts: Iterable[tuple[str, int, str]]) -> list[Part]:
    """The same from counts, each told in its label.  `("right", 3, "good")` of 4 -> 75 %, `3 right`."""
    counted = list(counts)
    total = sum(count for _, count, _ in counted) or 1
    return parts_of((f"· {count:,} {label}", count / total, tone) for label, count, tone in counted)
