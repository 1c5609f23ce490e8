"""Peak memory of real training processes, beside what the planner says before the first step.

Each shape is trained for a few steps in a process of its own, by the trainer of every run, checkpoint included.
The formula's allocator factor was fitted on `FITTED`; `HELD_OUT` are shapes it has not seen.

    python benchmarks/training_memory.py            one line a shape: measured, predicted, error
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

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
