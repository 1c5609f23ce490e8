"""Peak memory of real training processes, beside what the planner says before the first step.

Each shape is trained for a few steps in a process of its own, by the trainer of every run, checkpoint included.
The formula's allocator factor was fitted on `FITTED`; `HELD_OUT` are shapes it has not seen.

    python benchmarks/training_memory.py            one line a shape: measured, predicted, error
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glasshouse.model import TrainingPath, training_bytes
from glasshouse.model.native import why_no_bf16
from glasshouse.plan.shape import shape_of_width

N_RUNS = 3  # the peak of one shape differs by up to 7 % from run to run; the median counts

# width, vocabulary, tokens of a batch, tokens of a row, tokens of a microbatch where it is smaller
FITTED = (
    (64, 512, 4096, 256, None), (64, 4096, 8192, 256, None), (160, 4096, 8192, 256, None),
    (160, 4096, 2048, 128, None), (160, 4096, 8192, 256, 2048), (256, 4096, 4096, 256, None),
    (256, 8192, 8192, 512, None), (256, 1024, 16384, 256, 4096), (384, 4096, 4096, 256, None),
    (384, 1024, 8192, 512, None), (384, 16384, 2048, 256, None), (512, 4096, 2048, 256, None),
    (640, 2048, 1024, 256, None), (768, 8192, 1024, 256, None),
)  # fmt: skip
HELD_OUT = (
    (96, 4096, 8192, 256, None), (128, 2048, 16384, 256, None), (192, 8192, 4096, 256, None),
    (224, 4096, 8192, 256, 4096), (384, 8192, 4096, 256, None), (512, 2048, 4096, 512, None),
)  # fmt: skip

WAYS: dict[str, TrainingPath] = {
    "torch kernels": "torch", "native kernels": "native",
    **({"native kernels in bf16": "native-bf16"} if why_no_bf16() is None else {}),
}  # fmt: skip

CHILD = """
import json, sys, tempfile
from pathlib import Path
from glasshouse.core.environment import start_torch
start_torch()
import numpy as np
import psutil, torch
from glasshouse.batch import EncodedDocument, PackedLoader, write_shard
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import DeviceProfile, Meter, MeterConfig, peak_memory_bytes
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective import lm_loss
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer
from glasshouse.train import TrainConfig, Trainer

asked = json.loads(sys.argv[1])
tokenizer = train_tokenizer(["abcdefghijklmnopqrstuvwxyz"], TokenizerConfig(kind="char", vocab_size=64))
config = TrainConfig(steps=4, compile="never", max_epochs=None, **asked["train"])
profile = DeviceProfile("x", "cpu", 1, 10**9, 1e11, 1e10, 0.0, torch.__version__)
with tempfile.TemporaryDirectory() as folder:
    ids = (np.arange(2 * config.batch_tokens + 2 * config.seq_len) % 20 + 3).tolist()
    shard = write_shard(Path(folder) / "t.tokens", [EncodedDocument("d", ids, "s")], tokenizer)
    loader = PackedLoader(shard, config.seq_len, config.batch_tokens, 0)
    run = RunDirectory(Path(folder) / "run").create()
    base = psutil.Process().memory_info().rss
    model = Transformer(ModelConfig(**asked["model"]))
    Trainer(model, tokenizer, loader, lm_loss, config, stage="pretrain", run=run, folder=run.stage("pretrain"),
            terminal=Terminal(is_quiet=True), meter=Meter(MeterConfig()).start(), device_profile=profile).fit()
print(json.dumps({"base": base, "peak": peak_memory_bytes()}))
"""


def measure(model: Mapping[str, Any], train: Mapping[str, Any]) -> dict[str, int]:
    """{"base", "peak"}: bytes held before the model is made, and at most."""
    asked = json.dumps({"model": model, "train": train})
    done = subprocess.run([sys.executable, "-c", CHILD, asked], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class Row:
    """Bytes of the process's peak; `error` is relative to what was measured."""

    shape: str
    measured: int
    predicted: float

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1


def _asked(width: int, vocab_size: int, batch: int, seq_len: int, microbatch: int | None) -> tuple[Any, Any]:
    train = {"seq_len": seq_len, "batch_tokens": batch} | ({"microbatch_tokens": microbatch} if microbatch else {})
    return shape_of_width(width, vocab_size, seq_len), train


def measure_all(shapes: Sequence[tuple[int, int, int, int, int | None]], path: TrainingPath) -> list[Row]:
    rows = []
    for width, vocab_size, batch, seq_len, microbatch in shapes:
        model, train = _asked(width, vocab_size, batch, seq_len, microbatch)
        train["kernels"] = "torch" if path == "torch" else "auto"
        train["precision"] = "bf16" if path == "native-bf16" else "fp32"
        runs = [measure(model.model_dump(), train) for _ in range(N_RUNS)]
        found = sorted(runs, key=lambda run: run["peak"])[N_RUNS // 2]
        predicted = found["base"] + training_bytes(model, batch, min(batch, microbatch or batch), path=path)
        name = f"{width} wide, {vocab_size:,} words, {microbatch or batch:,} of {batch:,} tokens"
        rows.append(Row(name, found["peak"], predicted))
    return rows


if __name__ == "__main__":
    for name, path in WAYS.items():
        for row in measure_all(HELD_OUT, path):
            print(f"{name:<22} {row.shape:<50} {row.measured / 1e6:7.0f} MB {row.predicted / 1e6:7.0f} MB "
                  f"{100 * row.error:+5.1f} %")  # fmt: skip
