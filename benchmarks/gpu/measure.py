"""What both sides share: shapes, the clock, and the form in which a child process reports."""

import json
import time
from collections.abc import Callable
from typing import Any

import torch

SEQ_LEN = 2048
HEAD = 128
ROWS = {12: 32, 24: 16}  # at once
STEP_ROWS = {12: 256, 24: 64}  # of a step: half a million tokens, and an eighth of that
N_TIMED = {12: 5, 24: 5}
SPEED_VOCAB = 32768
LEARNED_ROWS = 64  # of a step of the learners: 131,072 tokens
VALIDATION_TOKENS = 1 << 20


def width_of(layers: int) -> int:
    return 64 * layers  # nanochat's aspect ratio


def matmul_flops_per_token(n_matmul_parameters: int, layers: int) -> float:
    """Forward and backward; attention looks at half of SEQ_LEN on average."""
    return 6.0 * n_matmul_parameters + 6.0 * layers * width_of(layers) * SEQ_LEN


def timed_steps(step: Callable[[], Any], n: int, n_warm: int = 2) -> tuple[float, float]:
    """(seconds of the first step, with its compiling; seconds of a later one)."""
    started_at = time.perf_counter()
    step()
    torch.cuda.synchronize()
    first_s = time.perf_counter() - started_at
    for _ in range(n_warm - 1):
        step()
    torch.cuda.synchronize()
    started_at = time.perf_counter()
    for _ in range(n):
        step()
    torch.cuda.synchronize()
    return first_s, (time.perf_counter() - started_at) / n


def report(**found: Any) -> None:
    print("FOUND " + json.dumps(found), flush=True)


def found_in(printed: str) -> dict[str, Any] | None:
    lines = [line for line in printed.splitlines() if line.startswith("FOUND ")]
    return json.loads(lines[-1].removeprefix("FOUND ")) if lines else None


def peak_gb() -> float:
    return round(torch.cuda.max_memory_allocated() / 1e9, 1)
