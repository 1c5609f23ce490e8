"""The one place that reads environment variables, and the process-wide settings made before the first tensor.

`start_torch` flushes denormals BEFORE OpenMP threads exist: called later it changes nothing, and softmax gradients on
CPU then take 39 times as long (32,000 x 512 matmul: 3.37 s against 0.087 s).
"""

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def cache_directory() -> Path:
    """Where measurements of this machine are kept: $GLASSHOUSE_CACHE, else $XDG_CACHE_HOME or ~/.cache/glasshouse."""
    if own := os.environ.get("GLASSHOUSE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glasshouse"


def is_colour_forbidden() -> bool:
    return bool(os.environ.get("NO_COLOR"))


def world() -> tuple[int, int]:
    """(rank, world size) as torchrun sets them; (0, 1) alone."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def n_threads_asked() -> int | None:
    """$OMP_NUM_THREADS where it is set: the user's word on how many threads to use."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdigit() else None


@cache
def start_torch() -> None:
    """Settings every process makes before its first tensor operation.  Safe to call often."""
    import torch

    torch.set_flush_denormal(True)


@cache
def default_device() -> "torch.device":
    start_torch()
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
