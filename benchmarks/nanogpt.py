"""nanoGPT as it stands: its data files written, its train.py run and timed, its checkpoint judged.

Its own files are not touched but `data/NAME/`, where its train.py looks for what a prepare.py of its own would write.
"""

import pickle
import re
import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers import timed

CONFIG = "config/train_shakespeare_char.py"
JUDGE = """
import sys, numpy as np, torch
sys.path.insert(0, sys.argv[1])
from model import GPT, GPTConfig
saved = torch.load(sys.argv[2], map_location="cpu", weights_only=True)
window, most = int(sys.argv[4]), int(sys.argv[5])
model = GPT(GPTConfig(**saved["model_args"]))
model.load_state_dict({k.removeprefix("_orig_mod."): v for k, v in saved["model"].items()})
model.eval()
ids = torch.from_numpy(np.fromfile(sys.argv[3], dtype=np.uint16).astype(np.int64))[: most + 1]
n = (len(ids) - 1) // window
x, y = ids[: window * n].view(n, window), ids[1 : window * n + 1].view(n, window)
with torch.no_grad():
    losses = [model(a, b)[1].item() * len(a) for a, b in zip(x.split(50), y.split(50))]
print(sum(losses) / n)
"""


@dataclass(frozen=True)
class Run:
    """One run: seconds from start to exit, seconds of each iteration after the first, and the loss of the held-out
    windows from its checkpoint, where one was asked for."""

    seconds: float
    iterations_s: list[float]
    loss: float | None = None

    @property
    def step_s(self) -> float:
        return statistics.median(self.iterations_s)


def write_data(checkout: Path, name: str, train: NDArray[Any], held_out: NDArray[Any], vocab_size: int) -> None:
    folder = checkout / "data" / name
    folder.mkdir(exist_ok=True)
    train.astype(np.uint16).tofile(folder / "train.bin")
    held_out.astype(np.uint16).tofile(folder / "val.bin")
    (folder / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": vocab_size}))  # the only key that training reads


def run(checkout: Path, data: str, flags: Mapping[str, Any], judged_window: int | None = None,
        judged_tokens: int = sys.maxsize) -> Run:  # fmt: skip
    """train.py with its configuration for small models and `flags` over it, then its checkpoint on fixed windows."""
    with tempfile.TemporaryDirectory() as out:
        given = [f"--{name}={value}" for name, value in {"dataset": data, "out_dir": out, **flags}.items()]
        seconds, printed = timed([sys.executable, "train.py", CONFIG, *given], checkout)
        times = [float(ms) / 1e3 for ms in re.findall(r"^iter \d+: loss .*?, time ([\d.]+)ms", printed, re.MULTILINE)]
        if judged_window is None:
            return Run(seconds, times[1:])
        question = [f"{out}/ckpt.pt", f"data/{data}/val.bin", str(judged_window), str(judged_tokens)]
        answer = timed([sys.executable, "-c", JUDGE, str(checkout), *question], checkout)[1]
    return Run(seconds, times[1:], float(answer.split()[-1]))


def count_parameters(n_layer: int, n_embd: int, vocab_size: int, block_size: int) -> int:
    """Of its model without biases, its head tied to its embedding."""
    return 12 * n_layer * n_embd**2 + (vocab_size + block_size + 2 * n_layer + 1) * n_embd
