"""The form of every result: `benchmarks/results/NAME.json`, written by `benchmarks/NAME.py`.

{name, date, commit, machine, versions, figures: [{what, value, unit, target, is_met, peer_value}]}
"""

import datetime
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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


def write_result(name: str, figures: list[Figure]) -> Path:
    profile = measure_device("cpu", is_fresh=True)
    path = RESULTS / f"{name}.json"
    machine = {
        "processor": profile.name,
        "cores": profile.n_cores,
        "memory_bytes": profile.memory_bytes,
        "gflops_per_s": round(profile.flops_per_s / 1e9, 1),
        "gbytes_per_s": round(profile.bytes_per_s / 1e9, 1),
        "system": platform.system(),
        "load_before": round(os.getloadavg()[0], 2),
    }
    write_json(
        path,
        {
            "name": name,
            "date": datetime.date.today().isoformat(),
            "commit": code_commit(),
            "machine": machine,
            "versions": {k: v for k, v in versions().items() if k not in ("platform", "commit")},
            "figures": [asdict(figure) for figure in figures],
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


def read_results() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
