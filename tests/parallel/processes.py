"""Several real processes that speak over gloo, started as torchrun starts them; and what they left behind."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parent / "program.py"
PATIENCE_S = 120


def start(n: int, cases: list[dict[str, Any]]) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps(cases)],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(n)
    ]  # fmt: skip


def all_ended(codes: list[int | None]) -> bool:
    return None not in codes


def finish(
    processes: list[subprocess.Popen], until: Callable[[list[int | None]], bool] = all_ended
) -> list[int | None]:
    """Exit codes once `until` holds of them; whoever is left is killed."""
    ends_at = time.monotonic() + PATIENCE_S
    try:
        while not until([p.poll() for p in processes]):
            assert time.monotonic() < ends_at, "the processes do not come to an end"
            time.sleep(0.05)
        return [p.poll() for p in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def run(n: int, *cases: dict[str, Any]) -> None:
    """Train every case on `n` processes; all must end well."""
    processes = start(n, list(cases))
    outputs = [p.communicate(timeout=PATIENCE_S)[1] for p in processes]
    assert [p.returncode for p in processes] == [0] * n, "\n".join(outputs)


def losses(folder: Path) -> dict[int, float]:
    records = (json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines())
    return {r["step"]: r["metrics"]["loss"] for r in records if "loss" in r["metrics"]}


def judged(folder: Path) -> list[float]:
    """What was found each time held-out text was judged."""
    records = (json.loads(line)["metrics"] for line in (folder / "run/metrics.jsonl").read_text().splitlines())
    return [metrics["eval/loss"] for metrics in records if "eval/loss" in metrics]


def largest_difference(one: Path, other: Path) -> float:
    a, b = losses(one), losses(other)
    assert a.keys() == b.keys()
    return max(abs(a[step] - b[step]) for step in a)
