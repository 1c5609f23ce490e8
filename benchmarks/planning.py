"""What the planner says before anything is paid, against what is known: published runs, real peaks, a ladder's truth.

python benchmarks/planning.py            writes nothing: `fast_and_far.py` collects the figures
python benchmarks/planning.py --ladder   climbs a ladder too (12 minutes), in runs/ladder, going on where it stopped
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from record import ROOT, SHARED, Figure
from training_memory import HELD_OUT, WAYS, measure_all

from glasshouse.core.files import read_json
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.corpus import CorpusConfig
from glasshouse.plan import find_device
from glasshouse.plan.published import published_rows
from glasshouse.run.elsewhere import read_job, trace_job, what_would_fit
from glasshouse.run.ladder import Ladder, LadderConfig

LADDER = ROOT / "runs" / "ladder"
# read once at most: the standard library has fewer tokens than two cores read in this time, and says much of it twice
NOVELS = CorpusConfig(sources=(str(SHARED / "text" / "novels"),), holdout_fraction=0.1)
TIME = "12m"
# the runs that the planner is asked to reproduce; every other row of the table is told beside them
ASKED = (
    ("Llama 2 70B, 2 T tokens", "A100-hours"),
    ("Llama 2 70B, 2 T tokens", "days on 6,000"),
    ("Llama 2 70B, 2 T tokens", "USD, at the table's price"),
    ("Llama 2 70B, 2 T tokens", "bytes of bf16 weights"),
    ("Llama 2 70B, 2 T tokens", "bytes of text"),
    ("Llama 3.1 8B, 8 H100 500 W, eager", "tokens/s a device"),
    ("GPT-2 124M, 8 A100, 10 B tokens in 90 min", "tokens/s a device"),
    ("Chinchilla, 5.76e23 FLOPs", "best parameters"),
    ("Chinchilla, 5.76e23 FLOPs", "best tokens"),
    ("Chinchilla, 5.76e23 FLOPs", "loss of 70 B after 1.4 T, nats"),
)


def published_figures() -> list[Figure]:
    rows = published_rows()
    asked = [row for row in rows if (row.run, row.what) in ASKED]
    checks = [row for row in rows if not row.is_fitted]
    near = [row for row in checks if abs(row.error) <= 0.20]
    far = {f"{row.run}: {row.what}": round(100 * row.error, 1) for row in checks if abs(row.error) > 0.20}
    return [
        *(Figure(f"planned against published: {row.run}: {row.what}", round(100 * row.error, 1), "%", "within 20 %",
                 abs(row.error) <= 0.20, float(f"{row.published:.4g}")) for row in asked),
        Figure("planned against published: rows no constant was fitted on, within 20 %",
               [len(near), len(checks)], "rows"),
        Figure("the same: rows further off", far, "%"),
    ]  # fmt: skip


def dry_run_figures(recipe: str = "recipes/llama-70b.toml", world_size: int = 2048) -> list[Figure]:
    started_at, started_cpu = time.perf_counter(), time.process_time()
    found = trace_job(read_job(ROOT / recipe), world_size)
    seconds, cpu_s = time.perf_counter() - started_at, time.process_time() - started_cpu
    return [
        Figure("dry run of Llama 2 70B on 2,048 ranks, one CPU", round(seconds, 1), "s", "<= 300", seconds <= 300),
        Figure("the same: CPU time", round(cpu_s, 1), "s"),
        Figure("the same: memory of a rank at its peak", round(found.peak_bytes / 1e9, 2), "GB"),
        Figure("the same: fits an A100 of 80 GB", what_would_fit(found, find_device("a100-80")) is None, ""),
        Figure("the same: collectives of a step",
               {f"{c.kind} over {c.n_ranks}": [c.n_calls, f"{c.n_bytes / 1e9:.1f} GB"] for c in found.collectives}, ""),
    ]  # fmt: skip


def memory_figures() -> list[Figure]:
    figures = []
    for name, path in WAYS.items():
        errors = {row.shape: round(100 * row.error, 1) for row in measure_all(HELD_OUT, path)}
        worst = max(map(abs, errors.values()))
        figures += [
            Figure(f"peak memory of training, predicted before the first step, {name}: worst of "
                   f"{len(errors)} shapes not fitted on", worst, "%", "within 10 %", worst <= 10),
            Figure(f"the same, {name}, by shape", errors, "%"),
        ]  # fmt: skip
    return figures


def ladder_figures(folder: Path = LADDER, *, climbs: bool = False) -> list[Figure]:
    """Of the ladder at `folder`, climbed now if asked; one that is not finished is told as not measured."""
    if climbs:
        Ladder(LadderConfig(time=TIME, corpus=NOVELS), RunDirectory(folder), Terminal()).climb()
    path = folder / "ladder.json"
    record: dict[str, Any] = read_json(path) if path.is_file() else {}
    if "truth" not in record:
        return [Figure("ladder's prediction of the held-out size: not measured", None, "%", "within 2 %", False)]
    prediction, truth = record["prediction"], record["truth"]
    error = 100 * truth["error"]
    return [
        Figure("ladder's prediction of the held-out size", round(error, 2), "%", "within 2 %", abs(error) <= 2,
               round(truth["loss"], 4)),
        Figure("the same: predicted, its interval, and the truth",
               [round(prediction[key], 4) for key in ("loss", "low", "high")] + [round(truth["loss"], 4)], "bits/byte"),
        Figure("the same: trainings", len(record["rungs"]), ""),
        Figure("the same: seconds", round(sum(entry["took_s"] for entry in record["rungs"])), "s"),
    ]  # fmt: skip


def figures(*, climbs: bool = False) -> list[Figure]:
    return [*published_figures(), *dry_run_figures(), *memory_figures(), *ladder_figures(climbs=climbs)]


if __name__ == "__main__":
    json.dump([asdict(figure) for figure in figures(climbs="--ladder" in sys.argv)], sys.stdout, indent=2)
