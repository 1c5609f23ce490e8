"""Put tasks to a model: scores with intervals, controls beside them, a log of every item, and going on after a stop.

Items are asked in chunks; after each its items stand in OUT/TASK.items.jsonl, and an evaluation that is given again
goes on behind them.  The first line of a log says which task and which model it belongs to; a log of another one is
replaced.  OUT/TASK.json is written last.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.files import append_jsonl, read_json, read_jsonl, write_json
from glasshouse.core.records import Score
from glasshouse.core.terminal import Terminal
from glasshouse.evals.item import Answered, Item
from glasshouse.evals.items import Prepared, prepare
from glasshouse.evals.kinds import answers, choices, pairs, text
from glasshouse.evals.language_model import LanguageModel, TooLong
from glasshouse.evals.metrics import score_of
from glasshouse.evals.task import Task, TaskConfig

CHUNK = 256  # items between two records of progress; one holds a thousand likelihoods
SCORE = "score"  # the name of the asking that is no control


@dataclass(frozen=True)
class TaskResult:
    """`scores` in the task's order of metrics, the first is the headline; `controls` has those of each control,
    `baselines` what needs no model, `groups` those of each group."""

    task: str
    hash: str
    model: str
    scores: list[Score]
    controls: dict[str, list[Score]] = field(default_factory=dict)
    baselines: dict[str, float] = field(default_factory=dict)
    groups: dict[str, list[Score]] = field(default_factory=dict)
    n_items: int = 0
    n_too_long: int = 0  # left out, because the task says so
    n_given_away: int = 0
    n_faulty: int = 0
    seconds: float = 0.0
    about: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "TaskResult":
        scores = {k: [Score(**s) for s in record[k]] for k in ("scores",)}
        nested = {k: {n: [Score(**s) for s in ss] for n, ss in record[k].items()} for k in ("controls", "groups")}
        return TaskResult(**{**record, **scores, **nested})


def evaluate(
    model: LanguageModel, tasks: Sequence[Task], *, model_name: str = "", out: Path | None = None,
    limit: int | None = None, terminal: Terminal | None = None,
) -> list[TaskResult]:  # fmt: skip
    """One result a task.  All tasks are read before any is asked, so that a fault in the last one costs no time.

    `model_name` names the model and its weights (`model_id`); with `out` results and item logs are kept there.
    """
    if not tasks:
        raise ConfigError("there is no task to evaluate")
    tasks = [task.limited(limit) for task in tasks]
    prepared = [prepare(task) for task in tasks]
    terminal = terminal or Terminal(is_quiet=True)
    return [_Evaluation(model, task, found, model_name, out, terminal).result() for task, found in zip(tasks, prepared)]


class _Evaluation:
    """One task put to one model."""

    def __init__(
        self, model: LanguageModel, task: Task, prepared: Prepared, model_name: str, out: Path | None,
        terminal: Terminal,
    ) -> None:  # fmt: skip
        self._model, self._task, self._prepared = model, task, prepared
        self._model_name, self._terminal = model_name, terminal
        self._log = None if out is None else ItemLog(out, task, model_name)
        self._too_long: set[int] = set()

    def result(self) -> TaskResult:
        task, config, started_at = self._task, self._task.config, time.monotonic()
        done = self._log.begin(self._terminal) if self._log else {}
        askings = {SCORE: self._prepared.items, **self._prepared.controls}
        total = sum(map(len, askings.values()))
        scored: dict[str, list[tuple[Item, Mapping[str, Sequence[float]]]]] = {}
        with self._terminal.task(task.name, total) as progress:
            n_done = 0
            for asking, items in askings.items():
                scored[asking] = []
                for chunk in self._ask(asking, items, done):
                    n_done += len(chunk)
                    scored[asking] += [(item, columns) for item, columns in chunk if columns is not None]
                    progress.advance_to(n_done, f"{n_done:,} of {total:,} items")
        kept = scored[SCORE]
        if not kept:
            raise DataError(
                f"task {task.name}: there are no items left: each prompt is longer than the model's context"
            )
        result = TaskResult(
            task.name, task.hash, self._model_name, _scores(kept, config),
            {name: _scores(found, config) for name, found in scored.items() if name != SCORE and found},
            _baselines(config, [item for item, _ in kept]),
            _groups(kept, config), len(kept), len(self._too_long), self._prepared.n_given_away,
            self._prepared.n_faulty, round(time.monotonic() - started_at, 2), config.about,
        )  # fmt: skip
        if self._log:
            self._log.finish(result, config)
        return result

    def _ask(
        self, asking: str, items: Sequence[Item], done: Mapping[tuple[str, int], Any]
    ) -> Iterator[list[tuple[Item, Mapping[str, Sequence[float]] | None]]]:
        """A chunk of items at a time, each with its columns; None for one that is too long."""
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            fresh = [item for item in chunk if (asking, item.number) not in done]
            answered = self._answers(fresh) if fresh else {}
            if self._log and fresh:
                self._log.write(asking, fresh, answered)
            columns = {item.number: done.get((asking, item.number)) for item in chunk}
            columns |= {number: None if found is None else found.columns for number, found in answered.items()}
            self._too_long |= {number for number, found in columns.items() if found is None}
            yield [(item, columns[item.number]) for item in chunk]

    def _answers(self, items: Sequence[Item]) -> dict[int, Answered | None]:
        try:
            return {item.number: found for item, found in zip(items, _asked(self._model, items, self._task.config))}
        except TooLong as error:
            owners = [i for i, item in enumerate(items) for _ in item.options or ("",)]  # of what was asked
            too_long = {owners[index] for index in error.indices}
            if self._task.config.too_long == "refuse":
                raise ConfigError(
                    f"task {self._task.name}: {len(too_long)} of {len(items)} prompts are longer than the model's "
                    f"context of {error.max_seq_len} tokens; the first is record {items[min(too_long)].number} with "
                    f"{error.n_tokens[0]}. Shorten the prompt, ask for fewer examples, use a model with a larger "
                    'max_seq_len, or write too_long = "skip" in the task to leave them out.'
                ) from None
            kept = [item for i, item in enumerate(items) if i not in too_long]
            return {item.number: None for item in items} | (self._answers(kept) if kept else {})


def _asked(model: LanguageModel, items: Sequence[Item], config: TaskConfig) -> list[Answered]:
    if config.answers is not None:
        return answers.ask(model, items, config.answers, config.seed)
    return ASK[config.kind](model, items)


ASK: dict[str, Callable[[LanguageModel, Sequence[Item]], list[Answered]]] = {
    "choices": choices.ask,
    "pairs": pairs.ask,
    "text": text.ask,
}
BASELINES: dict[str, Callable[[Sequence[Item]], dict[str, float]]] = {
    "choices": choices.baselines,
    "pairs": pairs.baselines,
    "text": text.baselines,
}


def _baselines(config: TaskConfig, items: Sequence[Item]) -> dict[str, float]:
    return BASELINES[config.kind](items) if config.kind in BASELINES else {}


def _scores(scored: Sequence[tuple[Item, Mapping[str, Sequence[float]]]], config: TaskConfig) -> list[Score]:
    units = [item.unit for item, _ in scored]
    return [score_of(name, [c[name] for _, c in scored], units, config.seed) for name in config.metric_names]


def _groups(scored: Sequence[tuple[Item, Mapping[str, Sequence[float]]]], config: TaskConfig) -> dict[str, list[Score]]:
    groups: dict[str, list[tuple[Item, Mapping[str, Sequence[float]]]]] = {}
    for item, columns in scored if config.group_by else ():
        groups.setdefault(item.group, []).append((item, columns))
    return {name: _scores(members, config) for name, members in sorted(groups.items())}


class ItemLog:
    """OUT/TASK.items.jsonl and OUT/TASK.json."""

    def __init__(self, out: Path, task: Task, model_name: str) -> None:
        self._items, self._result = out / f"{task.name}.items.jsonl", out / f"{task.name}.json"
        self._head = {"task": task.name, "hash": task.hash, "model": model_name}

    def begin(self, terminal: Terminal) -> dict[tuple[str, int], Mapping[str, Sequence[float]] | None]:
        """Columns of what was asked already, by asking and number; None for items that were too long."""
        self._items.parent.mkdir(parents=True, exist_ok=True)
        lines = list(read_jsonl(self._items)) if self._items.is_file() else []
        if lines and lines[0] == self._head:
            if len(lines) > 1 and not self._result.is_file():
                terminal.line(self._head["task"], f"goes on behind {len(lines) - 1:,} items that were asked before")
            return {(line["asking"], line["number"]): line["columns"] for line in lines[1:]}
        if lines:
            terminal.warn(self._head["task"], f"{self._items} was of another model or another task, and is replaced")
        self._items.unlink(missing_ok=True)
        self._result.unlink(missing_ok=True)
        append_jsonl(self._items, self._head)
        return {}

    def write(self, asking: str, items: Sequence[Item], answered: Mapping[int, Answered | None]) -> None:
        for item in items:
            found = answered[item.number]
            append_jsonl(self._items, {"asking": asking, **_logged(item, found)})

    def finish(self, result: TaskResult, config: TaskConfig) -> None:
        write_json(self._result, {**result.to_json(), "config": config.model_dump(mode="json", exclude_defaults=True)})


def _logged(item: Item, found: Answered | None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "number": item.number, "group": item.group, "unit": item.unit, "prompt_hash": item.prompt_hash,
        "prompt": item.shown_prompt,
    }  # fmt: skip
    if item.options:
        record |= {"options": item.options, "right": item.right}
    if item.answers:
        record["right"] = item.answers
    if found is None:
        return {**record, "columns": None}
    return {**record, "answer": found.answer, "columns": found.columns, **found.details}


def read_result(path: Path) -> tuple[TaskResult, list[dict[str, Any]]]:
    """A result of one task with its items, by the path of TASK.json."""
    record = read_json(path)
    record.pop("config", None)
    lines = list(read_jsonl(path.with_suffix(".items.jsonl")))
    return TaskResult.from_json(record), lines[1:]
