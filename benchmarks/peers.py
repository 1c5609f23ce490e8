"""The peers that training is compared with.  They lie beside the project, and nothing of them is part of it.

    ../peers/nanoGPT     a checkout of karpathy/nanoGPT
    ../peers/litgpt      a checkout of Lightning-AI/litgpt
    ../peers/nanochat    a checkout of karpathy/nanochat
    ../peers/site        what these import and Glasshouse does not, installed beside and never over our versions:
                         pip install --no-deps --target ../peers/site lightning lightning-utilities torchmetrics
                             pytorch-lightning jsonargparse typeshed-client docstring-parser importlib-resources litdata
                             wandb rustbpe

Another folder than ../peers: `--peers FOLDER`.  `transformers` comes with `pip install -e '.[dev]'`.  Every side trains
in a process of its own, with as many threads as OMP_NUM_THREADS says, or all cores.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from record import ROOT

BENCHMARKS = Path(__file__).resolve().parent
BESIDE = ROOT.parent / "peers"
CHECKOUTS = {"nanoGPT": "train.py", "litgpt": "litgpt/pretrain.py", "nanochat": "scripts/base_train.py"}


@dataclass(frozen=True)
class Peers:
    """The folder with the checkouts.  are_kept: of long comparisons their runs stand as the result has them, and ours
    alone is measured."""

    folder: Path = BESIDE
    are_kept: bool = False

    def checkout(self, name: str) -> Path:
        path = self.folder.resolve() / name
        if not (path / CHECKOUTS[name]).is_file():
            sys.exit(
                f"{path}: no {name} here ({CHECKOUTS[name]} is missing). Bring a checkout, and name the folder in "
                "which it lies with --peers"
            )
        return path

    def environment(self, *checkouts: Path) -> dict[str, str]:
        """For a process that imports a peer: its checkout before all else, what it needs after all else."""
        site = self.folder.resolve() / "site"
        return {"PYTHONPATH": os.pathsep.join(map(str, (*checkouts, *_own_path(), site)))}


def _own_path() -> list[str]:
    return [str(Path(part).resolve()) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]


def timed(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> tuple[float, str]:
    """(seconds from the start of the process to its exit, what it printed)."""
    started_at = time.perf_counter()
    environ = {**os.environ, **(environment or {})}
    done = subprocess.run([*command], cwd=folder, capture_output=True, text=True, env=environ)
    seconds = time.perf_counter() - started_at
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)[:300]} failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    return seconds, done.stdout


def script(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(BENCHMARKS / name), *arguments]
