"""Everything a run has recorded, read once and forgivingly: what is absent or torn is left out, never guessed.

The page and the model card are made from `RunRecords` alone.  Times are Unix seconds; energies joules.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from glasshouse.core.files import read_json, read_jsonl
from glasshouse.core.rundir import RunDirectory

STAGE_ORDER = ("corpus", "tokenizer", "pretrain", "sft", "reward", "align", "evals")
JUDGES = ("evals", "trust")  # stages after others, `evals-sft`, told together as `evals`
RESULTS = ("align.json", "reward.json", "moderation.json")  # what learning from people leaves beside a summary
REMOVED_SHOWN = 400  # read at most this many examples a reason: a large corpus removes millions

Record = Mapping[str, Any]


@dataclass(frozen=True)
class StageRecord:
    """One stage that began.  `cost` is empty until it finished; `result` is what became of judged answers."""

    name: str
    summary: Record = field(default_factory=dict)
    cost: Record = field(default_factory=dict)
    seconds: float | None = None
    is_finished: bool = False
    result: Record = field(default_factory=dict)

    @property
    def is_training(self) -> bool:
        return "n_tokens" in self.summary and "steps" in self.summary


@dataclass(frozen=True)
class RunRecords:
    name: str
    recipe: str
    plan: Record
    actual: Record
    stages: tuple[StageRecord, ...]
    evaluations: tuple[Record, ...]  # one a stage after which questions were asked, in the order of the life
    trust: tuple[Record, ...]  # one a stage after which the trust suite was run
    curves: Mapping[str, list[Record]]  # stage -> metric records
    samples: tuple[Record, ...]
    warnings: tuple[Record, ...]
    removed: Mapping[tuple[str, str], list[Record]]  # (step, reason) -> examples
    interruption: Record | None
    has_model: bool
    steps: Mapping[str, int] = field(default_factory=dict)  # of each training stage, as it began
    path: str = ""  # as a command on this machine would name it

    def stage(self, name: str) -> StageRecord | None:
        return next((stage for stage in self.stages if stage.name == name), None)

    def stage_with(self, key: str) -> StageRecord | None:
        """The last stage whose result has `key`: "method" of alignment, "quality" of a reward model, "threshold" of a
        moderator."""
        return next((stage for stage in reversed(self.stages) if key in stage.result), None)

    @property
    def training_stages(self) -> list[StageRecord]:
        return [stage for stage in self.stages if stage.is_training or stage.name in self.curves]

    @property
    def is_finished(self) -> bool:
        return bool(self.actual) and self.interruption is None


def read_run(run: RunDirectory) -> RunRecords:
    name = run.path.resolve().name
    events = list(_lenient(run.events()))
    curves: dict[str, list[Record]] = {}
    for record in _lenient(run.metrics()):
        curves.setdefault(str(record.get("stage")), []).append(record)
    actual = _json(run.path / "actual.json")
    told = [{"stage": stage} for stage in curves]  # where nothing but metrics is left
    stages = _with_one_verdict(
        [_stage(run.path, name, events, actual) for name in _stage_names(run.path, [*events, *told])]
    )
    order = [stage.name for stage in stages]
    return RunRecords(
        name=name,
        recipe=run.recipe_path.read_text(encoding="utf-8") if run.recipe_path.is_file() else "",
        plan=_json(run.path / "plan.json"),
        actual=actual,
        stages=stages,
        evaluations=tuple(_evaluations(run.path / "evals", order)),
        trust=tuple(_after_stages(run.path / "trust", "probes", order)),
        curves={name: _latest_attempt(records) for name, records in curves.items()},
        samples=tuple(_latest_samples(e for e in events if e.get("kind") == "sample")),
        warnings=tuple(e for e in events if e.get("kind") == "warning"),
        removed=_removed(run.path / "corpus" / "removed.jsonl"),
        interruption=_interruption(events, bool(actual)),
        has_model=(run.path / "model").exists(),
        steps={str(e["stage"]): int(e["steps"]) for e in events if e.get("kind") == "training"},
        path=f"runs/{name}" if run.path.resolve().parent.name == "runs" else str(run.path),
    )


def _stage_names(path: Path, events: list[Record]) -> list[str]:
    """Every stage that left a trace, the known ones in the order of the life, others in the order they began."""
    begun = list(dict.fromkeys(str(e["stage"]) for e in events if e.get("stage") and e.get("kind") != "prediction"))
    left = [file.parent.name for result in RESULTS for file in sorted(path.glob(f"*/{result}"))]
    found = [name for name in (*STAGE_ORDER, *begun) if name in begun or (path / name / "summary.json").is_file()]
    names = list(dict.fromkeys(name for name in (*found, *left) if name not in ("run", "report", "plan")))
    names = [name for name in names if not name.startswith("reward-")]  # the shorter trainings of a learning curve
    return sorted(names, key=lambda name: _position(name, begun))


def _position(name: str, begun: list[str]) -> float:
    if name in STAGE_ORDER:
        return STAGE_ORDER.index(name)
    late = begun.index(name) if name in begun else len(begun)
    return STAGE_ORDER.index("evals") - 0.5 + 0.001 * late  # a later stage still comes before the verdict


def _stage(path: Path, name: str, events: list[Record], actual: Record) -> StageRecord:
    finished = [e for e in events if e.get("stage") == name and e.get("kind") == "finished"]
    last: Record = finished[-1] if finished else {}
    summary = _json(path / name / "summary.json")
    own: Record = mapping(mapping(actual.get("stages")).get(name))
    cost = mapping(own.get("cost") or last.get("cost") or summary.get("cost"))
    seconds = next(
        (s for s in (own.get("seconds"), last.get("seconds"), summary.get("seconds"), cost.get("seconds")) if s), None
    )
    is_told = any(e.get("stage") == name and e.get("kind") == "started" for e in events)
    result: Record = next((found for file in RESULTS if (found := _json(path / name / file))), {})
    is_finished = bool(finished or own) or bool((summary or result) and not is_told)
    return StageRecord(name, summary or mapping(last.get("summary")), cost, seconds, is_finished, result)


def _with_one_verdict(stages: list[StageRecord]) -> tuple[StageRecord, ...]:
    """What judged after several stages (`evals-pretrain`, `trust-sft`) told as one, with the sum of their costs."""
    parts = [stage for stage in stages if stage.name.split("-")[0] in JUDGES]
    if not parts:
        return tuple(stages)
    keys = ("flops", "seconds", "joules", "usd", "co2_g")
    cost: dict[str, Any] = {key: sum(part.cost.get(key, 0) for part in parts) for key in keys}
    cost["is_estimated"] = any(part.cost.get("is_estimated", True) for part in parts)
    seconds = sum(part.seconds or 0 for part in parts)
    is_finished = all(part.is_finished for part in parts)
    verdict = StageRecord("evals", {}, cost if any(part.cost for part in parts) else {}, seconds or None, is_finished)
    return (*(stage for stage in stages if stage not in parts), verdict)


def _evaluations(folder: Path, order: list[str]) -> Iterator[Record]:
    return _after_stages(folder, "scores", order)


def _after_stages(folder: Path, key: str, order: list[str]) -> Iterator[Record]:
    """The results in `folder` that have `key`, in the order of the stages after which they were measured."""
    results = [_json(path) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []
    results = [result for result in results if result.get("after") and result.get(key)]
    yield from sorted(results, key=lambda r: order.index(r["after"]) if r["after"] in order else len(order))


def _removed(path: Path) -> dict[tuple[str, str], list[Record]]:
    """Up to `REMOVED_SHOWN` lines read, so that a corpus of any size costs the same."""
    groups: dict[tuple[str, str], list[Record]] = {}
    if not path.is_file():
        return groups
    for record in islice(_lenient(read_jsonl(path)), 100 * REMOVED_SHOWN):
        for reason in reasons(str(record.get("reason", ""))):
            examples = groups.setdefault((str(record.get("step", "")), reason), [])
            if len(examples) < REMOVED_SHOWN:
                examples.append(record)
    return groups


def reasons(text: str) -> list[str]:
    """The reasons that a summary counts: `2 email, 1 ip` -> `email`, `ip`; `duplicate: a/b.py` -> `duplicate`."""
    kind, colon, _ = text.partition(": ")
    return [kind] if colon else [part.lstrip("0123456789 ") or part for part in text.split(", ")]


def _latest_attempt(records: list[Record]) -> list[Record]:
    """A resumed stage repeats some steps, a stage run again repeats all: the last record of a step counts."""
    by_step: dict[int, Record] = {}
    for record in records:
        step = int(record.get("step", 0))
        if by_step and step < next(reversed(by_step)):  # went back: what lay beyond was thrown away
            by_step = {s: r for s, r in by_step.items() if s < step}
        merged = {**mapping(by_step.get(step, {}).get("metrics")), **mapping(record.get("metrics"))}
        by_step[step] = {**record, "metrics": merged}
    return list(by_step.values())


def _latest_samples(events: Iterable[Record]) -> list[Record]:
    latest = {(e.get("stage"), e.get("step"), e.get("prompt")): e for e in events}
    return sorted(latest.values(), key=lambda e: (_known_position(str(e.get("stage"))), e.get("step", 0)))


def _known_position(name: str) -> int:
    return STAGE_ORDER.index(name) if name in STAGE_ORDER else len(STAGE_ORDER)


def _interruption(events: list[Record], is_complete: bool) -> Record | None:
    """The interruption, where nothing finished after it."""
    last = next((e for e in reversed(events) if e.get("kind") in ("interrupted", "finished")), None)
    return last if last is not None and last.get("kind") == "interrupted" and not is_complete else None


def _lenient(records: Iterator[Any]) -> Iterator[Record]:
    """Records up to the first damaged line: a page about what is readable is worth more than an error."""
    try:
        for record in records:
            if isinstance(record, Mapping):
                yield record
    except ValueError:
        return


def _json(path: Path) -> Record:
    try:
        return mapping(read_json(path))
    except (OSError, ValueError):
        return {}


def mapping(value: Any) -> Record:
    """`value` where it is one, else empty: a record may be torn, or of another version."""
    return value if isinstance(value, Mapping) else {}
