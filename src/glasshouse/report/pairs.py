"""Two runs' scores side by side, with paired differences where both answered the same items.

A difference is B - A with a 95 % interval over the items (grouped by the name they ask about), from one resampling of
both: what is hard for both cancels out.  Read are `evals/<stage>.json` and, where tasks were put to both models,
`evals/tasks/TASK.json` with `TASK.items.jsonl`.  Paired are shares alone, and only where every item was kept (of many
questions a stage keeps the faults and some right ones, which would be a biased sample) and a task was the same in both.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glasshouse.core.files import read_json, read_jsonl
from glasshouse.core.intervals import bootstrap_interval
from glasshouse.core.records import Score
from glasshouse.core.rundir import RunDirectory

STAGES = ("pretrain", "sft", "align")
MADE_UP, SHARE = "made_up", "share"

# Score of a stage -> (what an item gives it, None where the item does not count).  As `evals.answers` defines them.
ITEM_SCORES: Mapping[str, Callable[[Mapping[str, Any]], bool | None]] = {
    "exact": lambda item: None if _is_made_up(item) else bool(item["is_exact"]),
    "normalised": lambda item: None if _is_made_up(item) else bool(item["is_normalised"]),
    "wrong": lambda item: None if _is_made_up(item) else item["outcome"] == "wrong",
    "refused_known": lambda item: None if _is_made_up(item) else item["outcome"] == "refused",
    "honest_refusal": lambda item: item["outcome"] == "honest" if _is_made_up(item) else None,
    "exact_refusal": lambda item: bool(item["is_exact"]) if _is_made_up(item) else None,
    "unsure_known": lambda item: None if _is_made_up(item) else item["outcome"] == "unsure",
    "unsure_made_up": lambda item: item["outcome"] == "unsure" if _is_made_up(item) else None,
}


@dataclass(frozen=True, slots=True)
class Paired:
    """One score of both runs; None where one has none.  `difference` is B - A over the items both answered."""

    group: str
    name: str
    a: Score | None
    b: Score | None
    difference: Score | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def stages_of(run: RunDirectory) -> list[str]:
    """The stages of a run that were judged, in order; then whatever else was."""
    found = {path.stem for path in (run.path / "evals").glob("*.json")}
    return [s for s in STAGES if s in found] + sorted(found - set(STAGES))


def pair_runs(a: RunDirectory, a_stage: str, b: RunDirectory, b_stage: str) -> list[Paired]:
    """Scores after a stage of each, then those of tasks."""
    tasks_a, tasks_b = a.path / "evals" / "tasks", b.path / "evals" / "tasks"
    return [*_pair_stages(_read(a, a_stage), _read(b, b_stage)), *_pair_tasks(tasks_a, tasks_b)]


def _pair_stages(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Paired]:
    items_a, items_b = _by_id(a), _by_id(b)
    for name, score_a, score_b in _aligned(a, b):
        difference = None
        if name in ITEM_SCORES:
            pairs = _values(items_a, items_b, ITEM_SCORES[name])
            difference = _difference(name, SHARE, [p[0] for p in pairs], [p[1] for p in pairs], [p[2] for p in pairs])
        yield Paired("questions" if name != "bits_per_byte" else "text", name, score_a, score_b, difference)


def _pair_tasks(a: Path, b: Path) -> Iterator[Paired]:
    names = {path.stem for folder in (a, b) for path in folder.glob("*.json")} - {"lm_eval"}
    for task in sorted(names):
        result_a, result_b = (_read_file(folder / f"{task}.json") for folder in (a, b))
        is_same = bool(result_a) and result_a.get("hash") == result_b.get("hash")
        items_a, items_b = (_columns(folder / f"{task}.items.jsonl") if is_same else {} for folder in (a, b))
        for name, score_a, score_b in _aligned(result_a, result_b):
            unit = (score_a or score_b or Score("", 0, 0, 0, 0)).unit
            numbers = sorted(items_a.keys() & items_b.keys()) if unit == SHARE else []
            of_a, of_b = ([float(items[n]["columns"][name][0]) for n in numbers] for items in (items_a, items_b))
            units = [str(items_a[n]["unit"]) for n in numbers]
            yield Paired(task, name, score_a, score_b, _difference(name, unit, of_a, of_b, units))


def _difference(name: str, unit: str, a: Sequence[float], b: Sequence[float], units: Sequence[str]) -> Score | None:
    """Of means; items of one unit are drawn together."""
    if not a:
        return None
    _, unit_of = np.unique(np.asarray(units), return_inverse=True)
    sums = np.bincount(unit_of, weights=np.asarray(b, float) - np.asarray(a, float))
    counts = np.bincount(unit_of).astype(float)
    low, high = bootstrap_interval(sums, weights=counts)
    return Score(name, float(sums.sum() / counts.sum()), low, high, len(a), unit)


def _values(
    items_a: Mapping[str, Any], items_b: Mapping[str, Any], value: Callable[[Mapping[str, Any]], bool | None]
) -> list[tuple[bool, bool, str]]:
    """(value of A, value of B, unit) of every item that both answered and that counts for the score."""
    found = []
    for id in sorted(items_a.keys() & items_b.keys()):
        x, y = value(items_a[id]), value(items_b[id])
        if x is not None and y is not None:
            found.append((x, y, str(items_a[id].get("name") or id)))
    return found


def _aligned(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, Score | None, Score | None]]:
    scores_a, scores_b = ({s["name"]: Score(**s) for s in record.get("scores", ())} for record in (a, b))
    for name in dict.fromkeys([*scores_a, *scores_b]):
        yield name, scores_a.get(name), scores_b.get(name)


def _by_id(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Nothing where some items were not kept."""
    items = [item for item in record.get("items", ()) if "outcome" in item]
    return {item["id"]: item for item in items} if len(items) == record.get("n_items") else {}


def _columns(path: Path) -> dict[int, Mapping[str, Any]]:
    """Items of a task as they were scored: the first line is the head, controls are left out."""
    lines = list(read_jsonl(path))[1:] if path.is_file() else []
    return {line["number"]: line for line in lines if line["asking"] == "score" and line["columns"] is not None}


def _is_made_up(item: Mapping[str, Any]) -> bool:
    return str(item.get("kind", "")).startswith(MADE_UP)


def _read(run: RunDirectory, stage: str) -> Mapping[str, Any]:
    return _read_file(run.path / "evals" / f"{stage}.json") if stage in stages_of(run) else {}


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return dict(read_json(path))
    except (OSError, ValueError):
        return {}
