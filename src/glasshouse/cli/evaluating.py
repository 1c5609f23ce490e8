"""The verbs that judge: eval puts tasks to a model, compare says whether two models differ."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from glasshouse.core.environment import start_torch
from glasshouse.core.errors import ConfigError
from glasshouse.core.terminal import Terminal

if TYPE_CHECKING:
    from glasshouse.core.records import Score
    from glasshouse.evals import Difference, Task, TaskResult
    from glasshouse.infer import Engine

N_GROUPS = 40  # shown at most
WIDTH = 140  # of a table that is not read in a terminal
PERCENT = "share"  # scores of this unit are shown as percentages


def evaluate_model(
    model: Path, names: Sequence[str], *, data: Path | None, out: Path | None, limit: int | None,
    lm_eval: Sequence[str], lm_eval_folder: Path | None, holding: Mapping[str, Any],
) -> None:  # fmt: skip
    """Put tasks to a model, print the scores, keep them with every item."""
    start_torch()
    from glasshouse.evals import suite_names

    if not names and not lm_eval:
        raise ConfigError(
            "name a task file or a suite, for example: glass eval MODEL knowledge. Suites that come with Glasshouse: "
            f"{', '.join(suite_names())}. Tasks of lm-evaluation-harness: --lm-eval TASK."
        )
    terminal = Terminal()
    tasks = _tasks(names, data)
    engine = _engine(model, holding, terminal)
    folder = out or _results_folder(model)
    if tasks:
        _evaluate(engine, model, tasks, folder, limit, terminal)
    if lm_eval:
        _run_lm_eval(engine, lm_eval, lm_eval_folder, limit, folder, terminal)


def compare_models(
    a: Path, b: Path, names: Sequence[str], *, data: Path | None, out: Path | None, limit: int | None,
    holding: Mapping[str, Any],
) -> None:  # fmt: skip
    """Print the paired differences of two models, from their results, or after evaluating both on `names`."""
    start_torch()
    from glasshouse.evals import compare_results

    terminal = Terminal()
    folders = []
    for model in (a, b):
        known = next((f for f in (model, _results_folder(model)) if _has_results(f)), None)
        if not names and known is None:
            raise ConfigError(
                f"{model} holds no results of tasks. Evaluate it first (glass eval {model} TASK), or name the tasks: "
                f"glass compare {a} {b} TASK"
            )
        if names:
            engine = _engine(model, holding, terminal)
            known = out / _plain(model) if out else _results_folder(model)
            _evaluate(engine, model, _tasks(names, data), known, limit, terminal)
        folders.append(known or model)
    _print(_difference_table(compare_results(*folders)), terminal)
    terminal.line("", "difference: B - A; * where chance alone would give as much in fewer than 1 of 20 comparisons")


def _evaluate(
    engine: "Engine", model: Path, tasks: "Sequence[Task]", folder: Path, limit: int | None, terminal: Terminal
) -> None:
    from glasshouse.evals import EngineModel, evaluate, model_name

    results = evaluate(
        EngineModel(engine), tasks, model_name=model_name(engine, model), out=folder, limit=limit, terminal=terminal
    )
    _print(_score_table(results), terminal)
    for result in results:
        _print_groups(result, terminal)
        for n, why in (
            (result.n_too_long, "longer than the model's context"),
            (result.n_given_away, "their question gives the answer away"),
            (result.n_faulty, "their record is faulty"),
        ):
            if n:
                terminal.warn(result.task, f"{n:,} items left out: {why}")
    terminal.line("results", f"{folder} (every item: TASK.items.jsonl)")


def _run_lm_eval(
    engine: "Engine", names: Sequence[str], tasks: Path | None, limit: int | None, folder: Path, terminal: Terminal
) -> None:
    from glasshouse.core.files import write_json
    from glasshouse.evals.lm_eval_adapter import run_lm_eval

    results = run_lm_eval(engine, names, limit=limit, folder=tasks)
    table = _table("task", "metric", "score", "standard error", "items")
    for name, found in results["results"].items():
        for key, value in found.items():
            metric, _, kind = key.partition(",")
            if not isinstance(value, float | int) or metric.endswith("_stderr") or metric in ("sample_len", "alias"):
                continue
            error = found.get(f"{metric}_stderr,{kind}")
            shown = f"{error:.4f}" if isinstance(error, float) else ""
            n_items = results.get("n-samples", {}).get(name, {}).get("effective", "")
            table.add_row(name, metric, f"{value:.4f}", shown, str(n_items))
    _print(table, terminal)
    path = folder / "lm_eval.json"
    write_json(path, {key: results[key] for key in ("results", "n-samples", "versions", "configs") if key in results})
    terminal.line("results", str(path))


def _tasks(names: Sequence[str], data: Path | None) -> "list[Task]":
    from glasshouse.evals import load_tasks

    return [task for name in names for task in load_tasks(name, data)]


def _engine(model: Path, holding: Mapping[str, Any], terminal: Terminal) -> "Engine":
    from glasshouse.infer import Engine

    engine = Engine.load(model, **holding)
    if engine.why_slower is not None:
        terminal.warn("model", engine.why_slower)
    return engine


def _results_folder(model: Path) -> Path:
    """Inside a run; for any other model below evals/."""
    is_run = (model / "recipe.toml").is_file()
    return model / "evals" / "tasks" if is_run else Path("evals") / _plain(model)


def _plain(model: Path) -> str:
    return "-".join(part for part in model.parts if part not in ("/", "..", "."))


def _has_results(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("*.items.jsonl"))


# ---- tables ----------------------------------------------------------------------------------------------------------


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold green")
    for column in columns:
        is_text = column in ("task", "group", "metric", "beside it")
        table.add_column(column, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    return table


def _print(table: Table, terminal: Terminal) -> None:
    """A pipe or a file has no edge to fold at."""
    console = terminal.console if terminal.console.is_terminal else Console(highlight=False, width=WIDTH)
    console.print(table)


def _score_table(results: "Sequence[TaskResult]") -> Table:
    table = _table("task", "metric", "score", "95 % interval", "items", "beside it")
    for result in results:
        for place, score in enumerate(result.scores):
            beside = [f"{name.replace('_', ' ')} {_value(scores[place], scores[place].value)}"
                      for name, scores in result.controls.items()]  # fmt: skip
            if place == 0:
                beside += [f"{name.replace('_', ' ')} {_value(score, value)}"
                           for name, value in result.baselines.items()]  # fmt: skip
            table.add_row(
                result.task if place == 0 else "", score.name, _value(score, score.value), _interval(score),
                f"{score.count:,}", ", ".join(beside),
            )  # fmt: skip
    return table


def _print_groups(result: "TaskResult", terminal: Terminal) -> None:
    if not result.groups:
        return
    table = _table("group", "score", "95 % interval", "items")
    ordered = sorted(result.groups.items(), key=lambda group: -group[1][0].value)
    for name, scores in ordered[:N_GROUPS]:
        first = scores[0]
        table.add_row(name, _value(first, first.value), _interval(first), f"{first.count:,}")
    _print(table, terminal)


def _difference_table(differences: "Sequence[Difference]") -> Table:
    table = _table("task", "metric", "A", "B", "difference", "95 % interval", "p", "items")
    for d in differences:
        mark = "*" if d.is_better is not None else ""
        only = "" if d.n_only_a is None else f" ({d.n_only_a}:{d.n_only_b})"
        table.add_row(
            d.task, d.metric, _value(d.score, d.a), _value(d.score, d.b), _value(d.score, d.score.value, "+") + mark,
            _interval(d.score, "+"), f"{d.p_value:.3g}", f"{d.score.count:,}{only}",
        )  # fmt: skip
    return table


def _value(score: "Score", value: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f} %" if score.unit == PERCENT else f"{value:{sign}.3f}"


def _interval(score: "Score", sign: str = "") -> str:
    return f"{_value(score, score.low, sign)} to {_value(score, score.high, sign)}"
