"""What became of single answers: the same questions, before alignment and after.

An evaluation's file holds every fault up to a limit, and the first of the right answers.  Where no fault was left out,
a question that is not among them was answered well, so that what became of each can be counted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from glasshouse.report.records import Record, RunRecords, mapping
from glasshouse.report.story.marks import Part, parts_of_counts
from glasshouse.report.story.preferences import evaluations_around

FAULTS = ("wrong", "refused", "invented")
EXAMPLES_SHOWN = 4
# (outcome before, after) -> title of its examples; the wanted changes first
CHANGES: dict[tuple[str, str], str] = {
    ("wrong", "refused"): "Wrong before, now it says that it does not know",
    ("wrong", "right"): "Wrong before, right now",
    ("invented", "honest"): "Invented before, now it says that it does not know",
    ("right", "refused"): "Right before, now it says that it does not know",
    ("right", "wrong"): "Right before, wrong now",
    ("honest", "invented"): "Honestly refused before, invented now",
}


@dataclass(frozen=True)
class Change:
    prompt: str
    before: str
    after: str
    truth: str


@dataclass(frozen=True)
class ChangeGroup:
    title: str
    count: int
    examples: list[Change]


@dataclass(frozen=True)
class Changes:
    bars: list[tuple[str, list[Part]]]
    groups: list[ChangeGroup]


def changes(records: RunRecords) -> Changes | None:
    around = evaluations_around(records)
    if around is None:
        return None
    before, after = around
    counts = count_changes(before, after)
    groups = list(_groups(_items(before), _items(after), counts))
    bars = _bars(counts) if counts else []
    return Changes(bars, groups) if bars or groups else None


def count_changes(before: Record, after: Record) -> dict[tuple[str, str], int]:
    """(outcome before, after) -> how many questions; empty where it cannot be known."""
    was, now = _faults(before), _faults(after)
    if was is None or now is None or not before.get("n_items") or before["n_items"] != after.get("n_items"):
        return {}
    counts: dict[tuple[str, str], int] = {}
    for id in was.keys() | now.keys():
        good = "honest" if "invented" in (was.get(id), now.get(id)) else "right"  # of a made-up name nothing is right
        pair = was.get(id, good), now.get(id, good)
        counts[pair] = counts.get(pair, 0) + 1
    for good in ("right", "honest"):
        lost = sum(n for (outcome, _), n in counts.items() if outcome == good)
        counts[good, good] = int(mapping(before["outcomes"]).get(good, 0)) - lost
    return counts


def _faults(result: Record) -> dict[str, str] | None:
    """id -> outcome; None where some were left out of the file."""
    items = _items(result).items()
    found = {id: str(item["outcome"]) for id, item in items if item.get("outcome") in FAULTS}
    told = mapping(result.get("outcomes"))
    return found if len(found) == sum(int(told.get(outcome, 0)) for outcome in FAULTS) else None


def _bars(counts: Mapping[tuple[str, str], int]) -> list[tuple[str, list[Part]]]:
    words = {
        "right": ("right", "good"), "honest": ("honestly refused", "good"), "refused": ("refused", "plain"),
        "wrong": ("wrong", "bad"), "invented": ("invented", "bad"),
    }  # fmt: skip
    asked = {
        "wrong": ("answered wrongly before", ("right", "refused", "wrong")),
        "invented": ("invented before, for made-up names", ("honest", "invented")),
        "right": ("right before", ("right", "refused", "wrong")),
    }
    bars = []
    for was, (title, outcomes) in asked.items():
        total = sum(n for (before, _), n in counts.items() if before == was)
        parts = [(f"{words[now][0]} now", counts.get((was, now), 0), words[now][1]) for now in outcomes]
        if total:
            bars.append((f"What became of {total:,} {title}", parts_of_counts([p for p in parts if p[1]])))
    return bars


def _groups(
    before: Mapping[str, Record], after: Mapping[str, Record], counts: Mapping[tuple[str, str], int]
) -> Iterator[ChangeGroup]:
    for pair, title in CHANGES.items():
        found = [id for id, item in before.items()
                 if item.get("outcome") == pair[0] and after.get(id, {}).get("outcome") == pair[1]]  # fmt: skip
        if found:
            surest = sorted(found, key=lambda id: -(before[id].get("logp_sum") or 0.0))
            shown = [_change(before[id], after[id]) for id in surest[:EXAMPLES_SHOWN]]
            yield ChangeGroup(title, max(len(found), counts.get(pair, 0)), shown)


def _change(before: Record, after: Record) -> Change:
    texts = str(before.get("text", "")), str(after.get("text", ""))
    return Change(str(before.get("prompt", "")), *texts, str((before.get("expected") or [""])[0]))


def _items(result: Record) -> dict[str, Record]:
    return {str(item.get("id")): item for item in map(mapping, result.get("items") or [])}
