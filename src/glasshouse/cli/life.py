"""The verbs that grow a model: plan it, run it, go on with it, list it, report on it."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from glasshouse.core.errors import ConfigError
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal, format_bytes, format_count, format_seconds

STARTED_AT = time.perf_counter()
PROFILE_AGE_S = 600.0  # other programs come and go: a speed measured longer ago says little


def grow(recipe: str, out: Path | None, settings: Sequence[str], dial: Mapping[str, str]) -> None:
    """Resolve a recipe for this machine, run what is not up to date, write the report.

    Under torchrun this is called in every process: the main one works and speaks, all train.
    """
    from glasshouse.parallel import init_distributed, main_first
    from glasshouse.run.find import find_recipe
    from glasshouse.run.resolve import UNDECIDED, load_draft, settle

    draft = load_draft(find_recipe(recipe), settings, dial)
    mesh = init_distributed(draft.parse(UNDECIDED).mesh)
    terminal = Terminal(is_quiet=not mesh.is_main)
    run = RunDirectory(out or Path("runs") / draft.name, is_silent=not mesh.is_main)
    with main_first(mesh):  # the others find what it resolved
        resolved = settle(draft, run, terminal)
    _live(resolved, run, terminal, mesh)


def go_on(path: Path) -> None:
    """Go on with the run at `path`, by the recipe it was started with."""
    from glasshouse.parallel import init_distributed
    from glasshouse.run.find import open_run
    from glasshouse.run.learning import is_learning, read_learning
    from glasshouse.run.resolve import read_resolved
    from glasshouse.run.runner import unfinished_stages

    run = open_run(path)
    if not run.recipe_path.is_file():
        raise ConfigError(f"{path} kept no recipe.toml to go on by. Give the command that began it again")
    if is_learning(run):
        learn_on(read_learning(run), run)
        return
    recipe = read_resolved(run)
    mesh = init_distributed(recipe.mesh)
    run, terminal = RunDirectory(path, is_silent=not mesh.is_main), Terminal(is_quiet=not mesh.is_main)
    if not unfinished_stages(recipe, run):
        terminal.line("resume", f"{path} is finished. Talk to it: glass chat {path}")
        return
    _live(recipe, run, terminal, mesh)


def _live(recipe: Any, run: RunDirectory, terminal: Terminal, mesh: Any) -> None:
    from glasshouse.run.recipe import check_mesh
    from glasshouse.run.runner import run_recipe

    check_mesh(recipe, mesh.sizes)
    if mesh.world_size > 1:
        terminal.line("mesh", mesh.describe())
    planning_seconds = time.perf_counter() - STARTED_AT
    _work(run, terminal, lambda profile: run_recipe(recipe, run, terminal, profile, planning_seconds, mesh), mesh)
    if mesh.is_main and run.model_path.exists():
        verb = "chat" if "sft" in recipe.stages else "generate"
        terminal.line("", f"talk to it:  glass {verb} {run.path}")


def learn_on(recipe: Any, run: RunDirectory) -> None:
    """Do what a learning recipe says, or what is left of it, and write the report."""
    from glasshouse.parallel import Mesh
    from glasshouse.run.learning import learn

    terminal = Terminal()
    _work(run, terminal, lambda profile: learn(recipe, run, terminal, profile), Mesh())
    if recipe.method == "reward":
        use = f"glass align MODEL --method grpo --questions FILE --reward model:{run.path}/model"
        terminal.line("", f"use it:  {use}")
    elif recipe.method == "moderation":
        terminal.line("", f"guard with it:  glass serve MODEL --moderation {run.path}")
    elif run.model_path.exists():
        terminal.line("", f"talk to it:  glass chat {run.path}")


def _work(run: RunDirectory, terminal: Terminal, work: Callable[[Any], Any], mesh: Any) -> None:
    """`work` on this machine, then what it cost, and the report."""
    from glasshouse.meter import measure_device
    from glasshouse.parallel import leave, main_first
    from glasshouse.run.runner import describe_cost

    with main_first(mesh):
        profile = measure_device(_device_name())
        if time.time() - profile.measured_at > PROFILE_AGE_S:
            profile = measure_device(_device_name(), is_fresh=True)
    try:
        result = work(profile)
    except KeyboardInterrupt:
        terminal.warn("stopped", f"nothing finished is lost. Go on: glass resume {run.path}")
        raise
    leave()
    if not mesh.is_main:
        return
    terminal.line("cost", describe_cost(result.cost))
    html = write_report(run.path, terminal)
    terminal.line("report", f"{html}        {_predicted_and_actual(run)}")


def write_report(path: Path, terminal: Terminal | None = None) -> Path:
    """Write report.html and MODEL_CARD.md; returns the page's path."""
    from glasshouse.report import model_card, render_run
    from glasshouse.run.find import open_run

    run = open_run(path)
    html = render_run(run)
    model_card(run)
    if terminal is None:
        Terminal().line("report", str(html))
    return html


def show_runs(root: Path) -> None:
    """A table of the runs below `root`; an empty one says how to begin."""
    from glasshouse.run.find import find_runs

    runs = list(find_runs(root))
    if not runs:
        raise ConfigError(f"no runs in {root}. Begin with: glass quickstart")
    table = Table(box=None, header_style="bold green")
    for column in ("run", "state", "parameters", "tokens", "took", "energy", "size", "last change"):
        table.add_column(column)
    for run in runs:
        table.add_row(*_describe_run(run))
    Console(highlight=False).print(table)


def _describe_run(run: RunDirectory) -> tuple[str, ...]:
    from glasshouse.core.files import read_json

    events = list(run.events())
    finished = [e for e in events if e["kind"] == "finished"]
    worked = [e for e in events if "cost" in e]  # to the end, or until they were interrupted
    began: Mapping[str, Any] = next((e for e in reversed(events) if e["kind"] == "training"), {})
    plan = read_json(run.path / "plan.json").get("predicted", {}) if (run.path / "plan.json").exists() else {}
    joules = sum(e["cost"]["joules"] for e in worked)
    size = sum(p.stat().st_size for p in run.path.rglob("*") if p.is_file() and not p.is_symlink())
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(events[-1]["at"])) if events else ""
    tokens = plan.get("tokens") or sum(e.get("summary", {}).get("n_tokens", 0) for e in finished)
    return (
        str(run.path), _state(run, events), format_count(plan.get("parameters") or began.get("parameters", 0)),
        format_count(tokens), format_seconds(sum(e["seconds"] for e in worked)), f"{joules / 3600:.2g} Wh",
        format_bytes(size), at,
    )  # fmt: skip


def _state(run: RunDirectory, events: Sequence[Mapping[str, Any]]) -> str:
    """`finished`, `planned`, or the last stage with how far it is: `align interrupted at step 30 of 100`."""
    told = [e for e in events if e["kind"] in ("started", "finished", "interrupted", "skipped")]
    last = told[-1] if told else {"stage": "", "kind": "planned"}
    if (run.path / "actual.json").exists() and last["kind"] in ("finished", "skipped"):
        return "finished"
    state = f"{last['stage']} {last['kind']}".strip()
    steps = [e["steps"] for e in events if e["kind"] == "training" and e["stage"] == last["stage"]]
    done = [m["step"] for m in run.metrics() if m["stage"] == last["stage"]]
    return f"{state} at step {done[-1]:,} of {steps[-1]:,}" if steps and done and last["kind"] != "finished" else state


def _predicted_and_actual(run: RunDirectory) -> str:
    from glasshouse.core.files import read_json

    plan = read_json(run.path / "plan.json") if (run.path / "plan.json").exists() else {}
    predicted = plan.get("predicted", {}).get("seconds")
    actual = read_json(run.path / "actual.json")
    took = f"took {format_seconds(actual['seconds'])}"
    return f"predicted {format_seconds(predicted)}, {took}" if actual["is_one_run"] and predicted else took


def _device_name() -> str:
    from glasshouse.core.environment import default_device

    return default_device().type
