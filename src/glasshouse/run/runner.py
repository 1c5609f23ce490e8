"""Run the stages of a run in order; a stage whose inputs have not changed is not run again.

A stage's inputs are its own part of the recipe and the inputs of every stage before it, as one hash.  `inputs.json`
is written when a stage starts and `finished.json` when it ends: a stage with the first and not the second was cut off
and goes on where it stopped (training from its last checkpoint, others from their beginning).
"""

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glasshouse.core.errors import ConfigError
from glasshouse.core.files import read_json, sha256_text, write_json
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal, format_seconds
from glasshouse.meter import Cost, DeviceProfile, Meter, MeterConfig, peak_memory_bytes
from glasshouse.parallel import Mesh, main_first, tell
from glasshouse.run.fingerprint import fingerprint_judging, fingerprint_sources
from glasshouse.run.recipe import Recipe
from glasshouse.run.stages import STAGES, StageContext
from glasshouse.run.versions import versions


@dataclass(frozen=True, slots=True)
class RunResult:
    run: RunDirectory
    seconds: float
    cost: Cost
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """One stage: `work` in its folder, under its meter, gives the summary."""

    name: str
    inputs: str  # a hash of all that the result depends on
    work: Callable[[Path, Meter], dict[str, Any]]
    is_shared: bool = False  # by all processes of a mesh together


def run_recipe(
    recipe: Recipe,
    run: RunDirectory,
    terminal: Terminal,
    profile: DeviceProfile,
    planning_seconds: float = 0.0,
    mesh: Mesh | None = None,
) -> RunResult:
    """Bring every stage of `recipe` up to date in `run`.

    The processes of a `mesh` train together; all else is done by the main one, while the others wait.
    """
    mesh = mesh or Mesh()

    def job(name: str, inputs: str) -> Job:
        def work(folder: Path, meter: Meter) -> dict[str, Any]:
            return STAGES[name].work(StageContext(name, recipe, run, folder, terminal, profile, meter, mesh))

        return Job(name, inputs, work, STAGES[name].is_shared)

    jobs = [job(name, inputs) for name, inputs in stage_inputs(recipe)]
    return run_jobs(jobs, run, terminal, profile, recipe.meter, planning_seconds, mesh)


def run_jobs(
    jobs: Sequence[Job], run: RunDirectory, terminal: Terminal, profile: DeviceProfile, meter: MeterConfig,
    planning_seconds: float = 0.0, mesh: Mesh | None = None,
) -> RunResult:  # fmt: skip
    """Do what is not up to date.  Ctrl-C leaves a run that `glass resume` continues."""
    started_at = time.perf_counter()
    mesh = mesh or Mesh()
    skipped = []
    with locked(run) if mesh.is_main else nullcontext():
        for job in jobs:
            if tell(mesh, _is_finished(run, job.name, job.inputs)):
                skipped.append(job.name)
                run.event(job.name, "skipped")
                terminal.line(job.name, "unchanged, not run again")
            elif mesh.is_main or job.is_shared:
                _run_job(job, run, Meter(meter, profile.device), mesh)
        seconds = planning_seconds + time.perf_counter() - started_at
        names = [job.name for job in jobs]
        cost = _write_actual(run, names, seconds, is_whole=not skipped) if mesh.is_main else Cost()
    return RunResult(run, seconds, cost, tuple(skipped))


def stage_inputs(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """(stage, hash of everything it depends on), in order.  Nothing depends on a stage that only judges."""
    chain = sha256_text(json.dumps({"seed": recipe.seed, "sources": fingerprint_sources(recipe)}, sort_keys=True))
    values = recipe.model_dump(mode="json")
    for name in recipe.stages:
        own: dict[str, Any] = {path: _value_at(values, path) for path in STAGES[name].reads}
        if files := fingerprint_judging(recipe, name):
            own["files"] = files
        inputs = sha256_text(json.dumps([chain, name, own], sort_keys=True))
        yield name, inputs
        chain = chain if STAGES[name].is_leaf else inputs


def _value_at(values: Mapping[str, Any], path: str) -> Any:
    """`_value_at(recipe, "sft.conversations")`; None where a table on the way is absent."""
    found: Any = values
    for key in path.split("."):
        found = None if found is None else found[key]
    return found


def unfinished_stages(recipe: Recipe, run: RunDirectory) -> list[str]:
    return [name for name, inputs in stage_inputs(recipe) if not _is_finished(run, name, inputs)]


def _run_job(job: Job, run: RunDirectory, meter: Meter, mesh: Mesh) -> None:
    name, folder = job.name, run.path / job.name
    with main_first(mesh) if job.is_shared else nullcontext():
        if mesh.is_main:
            _open(folder, job.inputs)
            run.event(name, "started", inputs=job.inputs)
    try:
        with meter:
            summary = job.work(folder, meter)
            cost = meter.cost_so_far()
    except BaseException as error:
        cost = meter.cost_so_far()
        run.event(name, "interrupted", error=type(error).__name__, seconds=cost.seconds, cost=cost.to_json())
        raise
    run.event(name, "finished", seconds=cost.seconds, cost=cost.to_json(), energy=meter.source, summary=summary)
    if mesh.is_main:
        peak = peak_memory_bytes()  # of this process so far; another may go on with the run
        write_json(
            folder / "finished.json",
            {"inputs": job.inputs, "seconds": cost.seconds, "cost": cost.to_json(), "peak_memory_bytes": peak},
        )


def _open(folder: Path, inputs: str) -> None:
    """What was made from other inputs goes: nothing in it is true any more.  Files that no stage made are not ours."""
    if _read(folder / "inputs.json").get("inputs") != inputs and folder.exists():
        if any(folder.iterdir()) and not (folder / "inputs.json").exists():
            raise ConfigError(f"{folder} holds files that are not of a run. Choose another folder with --out")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "inputs.json", {"inputs": inputs})


def _is_finished(run: RunDirectory, name: str, inputs: str) -> bool:
    return _read(run.path / name / "finished.json").get("inputs") == inputs


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(read_json(path))
    except (OSError, ValueError):
        return {}


def _write_actual(run: RunDirectory, stages: Sequence[str], seconds: float, is_whole: bool) -> Cost:
    """What the run really took.  `seconds` is the wall time from planning to here; stages hold their own."""
    records: Mapping[str, Any] = {name: _read(run.path / name / "finished.json") for name in stages}
    cost = sum((Cost.from_json(record["cost"]) for record in records.values()), Cost())
    actual = {
        "seconds": seconds if is_whole else sum(record["seconds"] for record in records.values()),
        "is_one_run": is_whole,
        "peak_memory_bytes": max([peak_memory_bytes(), *(r.get("peak_memory_bytes", 0) for r in records.values())]),
        "cost": cost.to_json(),
        "stages": records,
        "versions": versions(),
    }
    write_json(run.path / "actual.json", actual)
    return cost


@contextmanager
def locked(run: RunDirectory) -> Iterator[None]:
    """Only one process works in a run directory; the lock goes with the process, however it ends."""
    with (run.create().path / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"{run.path} is being worked on by another process. Wait for it, or choose another folder with --out"
            ) from None
        yield


def describe_cost(cost: Cost) -> str:
    """`4 min 05 s, 5.1 Wh (estimated), 0.002 USD, 2.0 g CO2`."""
    estimated = " (estimated)" if cost.is_estimated else ""
    return (f"{format_seconds(cost.seconds)}, {cost.joules / 3600:.2g} Wh{estimated}, "
            f"{cost.usd:.2g} USD, {cost.co2_g:.2g} g CO2")  # fmt: skip
