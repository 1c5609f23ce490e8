"""The first life measured whole: the quickstart as a user runs it, twenty kills, start-up, the checks.

    python benchmarks/first_life.py                          about half an hour on two cores, with nothing beside it
    python benchmarks/first_life.py --only quickstart help   some parts; the other rows stay as they are in the result

Parts: quickstart, kills, help, checks.  Every figure is read from the run's own records or from the clock around a real
command.
"""

import argparse
import hashlib
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import ROOT, Figure, measure_parts

GLASS = [sys.executable, "-m", "glasshouse.cli.main"]
N_KILLS = 20
RATES = {"exact": "exact answers", "honest_refusal": "made-up names honestly refused",
         "refused_known": "known names wrongly refused", "wrong": "confidently wrong on known names",
         "unsure_known": "known names, answer held back as not sure"}  # fmt: skip
KILL_SETTINGS = ["--set", "pretrain.steps=400", "--set", "sft.steps=300", "--set", "pretrain.checkpoint_every_s=1",
                 "--set", "sft.checkpoint_every_s=1"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=("quickstart", "kills", "help", "checks"))
    parser.add_argument("--run", type=Path, help="read this finished quickstart instead of growing one")
    parser.add_argument("--checks-minutes", type=float, help="what a green `make test` took, where it was timed before")
    arguments = parser.parse_args()
    minutes = arguments.checks_minutes
    with tempfile.TemporaryDirectory() as folder:
        parts = {
            "quickstart": lambda: quickstart_figures(arguments.run, Path(folder)),
            "kills": lambda: [kill_figure(Path(folder))],
            "help": lambda: [help_figure()],
            "checks": lambda: [checks_figure(*(timed_checks() if minutes is None else (minutes, True)))],
        }
        measure_parts("first_life", parts, arguments.only)


def quickstart_figures(known: Path | None, folder: Path) -> list[Figure]:
    run = known or folder / "quickstart"
    seconds = None
    if known is None:
        started_at = time.perf_counter()
        subprocess.run([*GLASS, "quickstart", "--out", str(run)], check=True, cwd=ROOT)
        seconds = time.perf_counter() - started_at
    actual, plan = read(run / "actual.json"), read(run / "plan.json")["predicted"]
    seconds = seconds or actual["seconds"]
    peak_gb = actual["peak_memory_bytes"] / 1e9
    evals = read(next(path for stage in ("align", "sft") if (path := run / "evals" / f"{stage}.json").exists()))
    rate, tuned = ({s["name"]: s for s in found["scores"]} for found in (evals, evals["development"]))
    n_taught = n_taught_names(run)
    ratio = actual["seconds"] / plan["seconds"]
    stages = {name: round(stage["seconds"], 1) for name, stage in actual["stages"].items()}
    return [
        Figure("quickstart, whole life", round(seconds / 60, 2), "min", "<= 10", seconds <= 600),
        Figure("quickstart, peak memory", round(peak_gb, 2), "GB", "<= 3", peak_gb <= 3),
        Figure("quickstart, seconds by stage", stages, "s"),
        Figure("names taught, chosen by rule", n_taught, "names", ">= 2,000", n_taught >= 2000),
        share("exact answers on held-out phrasings, unseen", rate["exact"], ">= 90 %", lambda v: v >= 0.90),
        share("made-up names honestly refused", rate["honest_refusal"], ">= 92 %", lambda v: v >= 0.92),
        share("known names wrongly refused", rate["refused_known"], "<= 4 %", lambda v: v <= 0.04),
        *[share(RATES[name], rate[name], None, None) for name in ("wrong", "unsure_known") if name in rate],
        *[share(f"in the phrasings of development: {what}", tuned[name], None, None)
          for name, what in RATES.items() if name in tuned],
        *[share(f"exact answers: {kind}", by(scores, "exact"), None, None)
          for kind, scores in evals["groups"]["kind"].items() if by(scores, "exact")],
        Figure("bits per byte on held-out text after pretraining",
               round(by(read(run / "evals" / "pretrain.json")["scores"], "bits_per_byte")["value"], 3), "bits/byte"),
        Figure("actual time / planned time", round(ratio, 3), "ratio", "0.8 to 1.2", 0.8 <= ratio <= 1.2),
    ]  # fmt: skip


def share(what: str, score: dict[str, Any], target: str | None, is_met: Any) -> Figure:
    value = f"{100 * score['value']:.1f} ({100 * score['low']:.1f}-{100 * score['high']:.1f}, n={score['count']})"
    return Figure(what, value, "%", target, None if is_met is None else bool(is_met(score["value"])))


def by(scores: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next((score for score in scores if score["name"] == name), {})


def n_taught_names(run: Path) -> int:
    from glasshouse.corpus.library import Library

    return len(Library.introspect().taught)


def kill_figure(folder: Path) -> Figure:
    """A small life killed with SIGKILL at twenty random moments and resumed each time, against one left alone."""
    whole, killed = folder / "whole", folder / "killed"
    command = [*GLASS, "run", "tiny/life", *KILL_SETTINGS]
    started_at = time.perf_counter()
    quiet([*command, "--out", str(whole)])
    seconds = time.perf_counter() - started_at
    rng, n_kills = random.Random(1), 0
    while n_kills < N_KILLS:
        process = subprocess.Popen([*command, "--out", str(killed)], cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            process.wait(timeout=rng.uniform(0.3, seconds / 3))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            n_kills += 1
        else:
            if n_kills < N_KILLS:  # it got through: begin another life, the kills count on
                assert digest(killed) == digest(whole)
                shutil.rmtree(killed)
    quiet([*command, "--out", str(killed)])
    is_equal = digest(killed) == digest(whole)
    return Figure(
        f"kill -9 at {n_kills} random moments, resume: weights equal to the bit", is_equal, "", "equal", is_equal
    )


def digest(run: Path) -> list[str]:
    paths = [run / stage / "checkpoint" / "model.safetensors" for stage in ("pretrain", "sft")]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def help_figure() -> Figure:
    glass = str(Path(sys.executable).with_name("glass"))
    times = []
    for _ in range(11):
        started_at = time.perf_counter()
        quiet([glass, "--help"])
        times.append(time.perf_counter() - started_at)
    median = statistics.median(times[1:])
    return Figure("glass --help", round(median, 3), "s", "<= 0.3", median <= 0.3)


def timed_checks() -> tuple[float, bool]:
    started_at = time.perf_counter()
    done = subprocess.run(["make", "test"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout[-1500:])
    return (time.perf_counter() - started_at) / 60, done.returncode == 0


def checks_figure(minutes: float, is_green: bool) -> Figure:
    unit = "min" if is_green else "min, with failures"
    return Figure("make test after installation", round(minutes, 2), unit, "<= 10", minutes <= 10 and is_green)


def quiet(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")


def read(path: Path) -> Any:
    return json.loads(path.read_text())


if __name__ == "__main__":
    main()
