"""Processes that are killed or stopped, and what the next one makes of it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from safetensors.torch import load_file

PROGRAM = Path(__file__).parent / "tiny.py"


class Workshop:
    """The forking process of `tiny.py`, and its runs."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.folder = Path()

    def start(self, folder: Path, steps: int) -> int:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.process.stdin.write(f"{folder} {steps}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self) -> int:
        return int(self.process.stdout.readline())

    def wait_for_step(self, step: int) -> None:
        limit = time.monotonic() + 120
        while self.last_step() < step:
            assert time.monotonic() < limit, "the run makes no progress"
            time.sleep(0.01)

    def last_step(self) -> int:
        path = self.folder / "run" / "metrics.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        steps = [json.loads(line)["step"] for line in lines if line.endswith(b"}")]
        return max(steps, default=0)

    def run(self, folder: Path, steps: int) -> int:
        self.start(folder, steps)
        return self.wait()


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    made = Workshop()
    yield made
    made.process.stdin.close()
    made.process.wait(30)


def same_as(whole: Path, other: Path) -> None:
    """Weights to the bit, and every step told once with the same loss."""
    a, b = (load_file(f / "run/pretrain/checkpoint/model.safetensors") for f in (whole, other))
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].equal(b[name]), f"{name} differs"
    assert losses(whole) == losses(other)


def losses(folder: Path) -> list[tuple[int, float]]:
    records = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
    return [(r["step"], r["metrics"]["loss"]) for r in records if "loss" in r["metrics"]]


def kill_often(workshop: Workshop, folder: Path, steps: int, n_kills: int, seed: int) -> int:
    """Kill -9 at random moments: some soon after a random step, some at any time; returns how many hit a live run."""
    rng = random.Random(seed)
    n_hits = 0
    for _ in range(n_kills):
        pid = workshop.start(folder, steps)
        reached = workshop.last_step()
        workshop.wait_for_step(min(steps - 1, rng.randint(1, max(1, (steps - reached) // 3)) + reached))
        time.sleep(rng.random() * 0.02)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        n_hits += workshop.wait() == -signal.SIGKILL
    return n_hits


def test_kill_9_and_resume_gives_the_same_bits(workshop, tmp_path):
    assert workshop.run(tmp_path / "whole", 60) == 0
    assert kill_often(workshop, tmp_path / "killed", 60, 3, seed=1) >= 1
    assert workshop.run(tmp_path / "killed", 60) == 0
    same_as(tmp_path / "whole", tmp_path / "killed")
    assert [s for s, _ in losses(tmp_path / "killed")] == list(range(1, 61))


@pytest.mark.slow
def test_twenty_kills(workshop, tmp_path):
    assert workshop.run(tmp_path / "whole", 400) == 0
    assert kill_often(workshop, tmp_path / "killed", 400, 20, seed=2) >= 15
    assert workshop.run(tmp_path / "killed", 400) == 0
    same_as(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(workshop, tmp_path, number):
    assert workshop.run(tmp_path / "whole", 40) == 0
    pid = workshop.start(tmp_path / "stopped", 40)
    workshop.wait_for_step(10)
    os.kill(pid, number)
    assert workshop.wait() == 128 + number
    reached = workshop.last_step()
    assert 10 <= reached < 40
    message = (tmp_path / "stopped/error.txt").read_text()
    assert f"stopped at step {reached} of 40" in message and "glass resume" in message
    assert (tmp_path / f"stopped/run/pretrain/checkpoints/step-{reached:08d}").is_dir()  # no step is lost
    assert workshop.run(tmp_path / "stopped", 40) == 0
    same_as(tmp_path / "whole", tmp_path / "stopped")
