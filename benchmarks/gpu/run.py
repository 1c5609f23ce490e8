"""One GPU against nanochat's training step on it: speed, what is learned in a time, and that fast paths are right.

    python benchmarks/gpu/data.py .gpu                       (on any machine with ../shared/data; a minute)
    PYTHONPATH=src python benchmarks/gpu/run.py --nanochat ../nanochat --only checks speed learn

Every measurement is a process of its own, one after the other.  `--until` stops beginning new ones after so many
seconds; rows not measured stay as they are in benchmarks/results/gpu.json.  FLOPs of both sides are counted by one
rule: 6 a parameter of a matrix and token, and causal attention over half of 2,048; the peak is a bf16 product of 8,192.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from measure import found_in  # noqa: E402
from record import Figure, kept_figures, replace_figures, write_result  # noqa: E402

from glasshouse.meter import measure_device  # noqa: E402

SPEEDS = {  # what: (script, arguments)
    "ours 12": ("ours.py", ["--layers", "12"]),
    "nanochat 12": ("nanochat_peer.py", ["--layers", "12"]),
    "ours 24": ("ours.py", ["--layers", "24"]),
    "nanochat 24": ("nanochat_peer.py", ["--layers", "24"]),
    "ours 24, fp8": ("ours.py", ["--layers", "24", "--precision", "fp8"]),
    "ours 12, documents": ("ours.py", ["--layers", "12", "--documents"]),
    "ours 12, cudnn": ("ours.py", ["--layers", "12", "--cudnn"]),
    "nanochat 24, fp8": ("nanochat_peer.py", ["--layers", "24", "--fp8"]),
    "ours 12, eager": ("ours.py", ["--layers", "12", "--eager"]),
}


class Clock:
    def __init__(self, until_s: float) -> None:
        self._ends_at = time.perf_counter() + until_s

    @property
    def left_s(self) -> float:
        return self._ends_at - time.perf_counter()


def child(script: str, arguments: list[str], clock: Clock, log: Path) -> str:
    """What it printed; its errors go to the log."""
    with (log / f"{script}-{'-'.join(arguments)}.log".replace("/", "_").replace(" ", "")).open("w") as errors:
        try:
            done = subprocess.run([sys.executable, str(HERE / script), *arguments], stdout=subprocess.PIPE,
                                  stderr=errors, text=True, timeout=max(5.0, clock.left_s))  # fmt: skip
            return done.stdout
        except subprocess.TimeoutExpired as error:
            return (error.stdout or b"").decode()


def speeds(names: list[str], arguments: argparse.Namespace, clock: Clock) -> dict[str, dict[str, Any]]:
    found = {}
    for name in names:
        script, options = SPEEDS[name]
        if clock.left_s < 15:
            break
        if script == "nanochat_peer.py":
            options = [*options, "--nanochat", str(arguments.nanochat)]
        found[name] = found_in(child(script, ["speed", *options], clock, arguments.log)) or {"error": "see the log"}
        print(name, found[name], flush=True)
    return found


def speed_figures(found: dict[str, dict[str, Any]], peak: float) -> Iterator[Figure]:
    for name, values in found.items():
        if "tokens_per_s" not in values:
            continue
        who, _, about = name.partition(" ")
        peer = found.get(f"nanochat {about}", {}) if who == "ours" else {}
        about = f"{about.replace(',', ' layers,', 1) if ',' in about else about + ' layers'}, 2,048 tokens a row"
        yield Figure(f"{who}, {about}: tokens/s", values["tokens_per_s"], "tok/s", None, None, peer.get("tokens_per_s"))
        yield Figure(f"{who}, {about}: share of the bf16 matmul peak ({peak / 1e12:.0f} TFLOP/s)",
                     round(values["flops_per_s"] / peak, 3), "")  # fmt: skip
        cost = f"{values['first_s']} s; {values['peak_gb']} GB"
        yield Figure(f"{who}, {about}: first step with compiling; memory", cost, "")
        if "tokens_per_s" in peer:
            ratio = values["tokens_per_s"] / peer["tokens_per_s"]
            yield Figure(f"tokens/s, {about}: ours / nanochat (its attention is torch's: no Flash Attention 3 here)",
                         round(ratio, 3), "x", "> 1", ratio > 1)  # fmt: skip


def learned(arguments: argparse.Namespace, clock: Clock) -> dict[str, dict[str, Any]]:
    seconds = ["--seconds", str(arguments.seconds), "--data", str(arguments.data)]
    found: dict[str, dict[str, Any]] = {}
    theirs = ["--nanochat", str(arguments.nanochat), "--layers", str(arguments.depth)]
    runs = {"ours": ("ours.py", []), "nanochat": ("nanochat_peer.py", theirs)}
    for name, (script, options) in runs.items():
        found[name] = found_in(child(script, ["learn", *seconds, *options], clock, arguments.log)) or {}
        print(name, found[name], flush=True)
    return found


def learned_figures(found: dict[str, dict[str, Any]], seconds: float) -> Iterator[Figure]:
    ours, peer = found["ours"], found["nanochat"]
    for name, values in found.items():
        if values:
            yield Figure(f"{name}, {seconds:g} s of training on shared text: what it did", values, "")
    if ours and peer:
        is_met = ours["bits_per_byte"] <= peer["best"]
        yield Figure(f"held-out bits per byte after {seconds:g} s of training (nanochat: the best of ten evaluations)",
                     ours["bits_per_byte"], "bits/byte", "<= nanochat's", is_met, peer["best"])  # fmt: skip


def check_figures(arguments: argparse.Namespace, clock: Clock) -> Iterator[Figure]:
    printed = child("checks.py", [], clock, arguments.log)
    for line in printed.splitlines():
        if line.startswith("FOUND "):
            found = json.loads(line.removeprefix("FOUND "))
            print(found, flush=True)
            yield Figure(f"check: {found.pop('check')}", found, "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanochat", type=Path, default=Path("../nanochat"))
    parser.add_argument("--data", type=Path, default=Path(".gpu"))
    parser.add_argument("--only", nargs="*", choices=["checks", "speed", "learn"], default=["checks", "speed", "learn"])
    parser.add_argument("--speeds", nargs="*", choices=SPEEDS, default=list(SPEEDS))
    parser.add_argument("--seconds", type=float, default=300.0, help="of training, each")
    parser.add_argument("--depth", type=int, default=8, help="of nanochat's learner")
    parser.add_argument("--until", type=float, default=3600.0)
    parser.add_argument("--log", type=Path, default=Path("runs/gpu"))
    arguments = parser.parse_args()
    arguments.log.mkdir(parents=True, exist_ok=True)
    clock, peak = Clock(arguments.until), measure_device("cuda", is_fresh=True).flops_per_s
    print(f"peak {peak / 1e12:.0f} TFLOP/s", flush=True)
    figures: list[Figure] = []
    if "speed" in arguments.only:
        figures += speed_figures(speeds(arguments.speeds, arguments, clock), peak)
    if "checks" in arguments.only:
        figures += check_figures(arguments, clock)
    if "learn" in arguments.only:
        figures += learned_figures(learned(arguments, clock), arguments.seconds)
    write_result("gpu", replace_figures(kept_figures("gpu"), figures))


if __name__ == "__main__":
    main()
