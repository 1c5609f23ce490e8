"""The form of every result: `benchmarks/results/NAME.json`, written by `benchmarks/NAME.py`.

{name, date, commit, machine, versions, figures: [{what, value, unit, target, is_met, peer_value, date, commit,
processor}]}

Rows may be measured again alone (`kept_figures`): each says when, of which code, and on which processor it was; what
stands above all rows is of the newest.
"""

import datetime
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from glasshouse.core.files import write_json
from glasshouse.meter import measure_device
from glasshouse.run.versions import code_commit, versions

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SHARED = ROOT.parent / "shared" / "data"


@dataclass(frozen=True)
class Figure:
    """`target` in words; `is_met` None where nothing was asked."""

    what: str
    value: Any
    unit: str
    target: str | None = None
    is_met: bool | None = None
    peer_value: Any = None
    date: str | None = None  # None: measured just now
    commit: str | None = None
    processor: str | None = None


def kept_figures(name: str) -> list[Figure]:
    """The rows of the result as it is, each with its own date, commit and processor."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return []
    result = json.loads(path.read_text())
    about = {"date": result["date"], "commit": result["commit"], "processor": result["machine"]["processor"]}
    return [Figure(**{**about, **row}) for row in result["figures"]]


def kept(name: str, what: str) -> Figure:
    """One of them."""
    return next(figure for figure in kept_figures(name) if figure.what == what)


def replace_figures(kept: list[Figure], measured: list[Figure]) -> list[Figure]:
    """Rows of the same name in their old place, new ones at the end."""
    new = {figure.what: figure for figure in measured}
    known = {figure.what for figure in kept}
    return [new.get(figure.what, figure) for figure in kept] + [f for what, f in new.items() if what not in known]


def write_result(name: str, figures: list[Figure]) -> Path:
    """Write all rows, those without a date as measured today, of this code."""
    profile = measure_device("cpu", is_fresh=True)
    gpu = measure_device("cuda") if torch.cuda.is_available() else None
    path = RESULTS / f"{name}.json"
    machine = {
        "processor": profile.name,
        "cores": profile.n_cores,
        "memory_bytes": profile.memory_bytes,
        "gflops_per_s": round(profile.flops_per_s / 1e9, 1),
        "gbytes_per_s": round(profile.bytes_per_s / 1e9, 1),
        "system": platform.system(),
        "load_before": round(os.getloadavg()[0], 2),
        **({} if gpu is None else {"gpu": gpu.name, "gpu_tflops_per_s": round(gpu.flops_per_s / 1e12, 1)}),
    }
    about = {"date": datetime.date.today().isoformat(), "commit": code_commit()}
    write_json(
        path,
        {
            "name": name,
            **about,
            "machine": machine,
            "versions": {k: v for k, v in versions().items() if k not in ("platform", "commit")},
            "figures": [
                asdict(f if f.date is not None else replace(f, **about, processor=gpu.name if gpu else profile.name))
                for f in figures
            ],
        },
    )
    for figure in figures:
        mark = "   " if figure.is_met is None else "met" if figure.is_met else "NOT"
        print(
            f"{mark}  {figure.what}: {figure.value} {figure.unit}"
            + (f"  (target {figure.target})" if figure.target else "")
        )
    print(path)
    return path


def measure_parts(
    name: str, parts: Mapping[str, Callable[[], list[Figure]]], only: Sequence[str] | None = None
) -> None:
    """Measure some parts of a result, or all, and write it after each; a part never measured says so in a row."""
    for part in only or parts:
        rows = kept_figures(name) or [_not_measured(each) for each in parts]
        known = [row for row in rows if row.what != _not_measured(part).what]
        write_result(name, replace_figures(known, parts[part]()))


def _not_measured(part: str) -> Figure:
    return Figure(f"{part}: not measured yet", None, "", None, False)


def read_results() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
