"""One process of several: joins the others as torchrun says, and trains the cases it is told, one after the other.

A case: {"folder", "mesh": {...}, "train": {...}, "model": {...}, "fault": {...}}.  Losses are in the folder's metrics.
"""

import json
import os
import resource
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "train"))

import tiny
import torch

from glasshouse.batch import LMBatch, PackedLoader
from glasshouse.core.environment import start_torch, world
from glasshouse.core.errors import GlasshouseError
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import Meter, MeterConfig
from glasshouse.model import InitConfig, ModelConfig, Transformer
from glasshouse.objective import lm_loss
from glasshouse.parallel import MeshConfig, init_distributed, main_first
from glasshouse.train import Trainer
from glasshouse.train.filling import drawn

SHAPE = {"d_model": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "d_head": 8, "d_ff": 64, "max_seq_len": 16}


def train_case(case: dict[str, Any]) -> None:
    rank, _ = world()
    mesh = init_distributed(MeshConfig(**case.get("mesh", {})))
    root = Path(case["folder"])
    config = tiny.config_of(**{"batch_tokens": 128, **case.get("train", {})})
    with main_first(mesh):
        root.mkdir(parents=True, exist_ok=True)
        tokenizer = tiny.tokenizer_of(root)
        shard = tiny.shard_of(root, tokenizer)
    vocab_size = tokenizer.vocab_size
    shape = ModelConfig(**{**SHAPE, "vocab_size": vocab_size, **case.get("model", {})})
    loader = PackedLoader(shard, config.seq_len, config.batch_tokens, seed=0,
                          crosses_documents=case.get("crosses_documents", True))  # fmt: skip
    run = RunDirectory(root / "run", is_silent=not mesh.is_main).create()
    faulty = Faulty(loader, case.get("fault", {}), rank)
    text = LMBatch(*torch.randint(vocab_size, (2, 3, 13), generator=torch.Generator().manual_seed(2)))
    trainer = Trainer(
        Transformer.blank(shape), tokenizer, faulty, faulty.objective, config, fill=drawn(0, InitConfig()),
        stage="pretrain", run=run, folder=run.stage("pretrain"), terminal=Terminal(is_quiet=True),
        meter=Meter(MeterConfig()).start(), device_profile=tiny.PROFILE, mesh=mesh,
        evaluate=lambda model: {"eval/loss": float(lm_loss(model, text).loss_sum) / text.n_tokens},
    )  # fmt: skip
    trainer.fit()


class Faulty:
    """A loader that does something to one rank at one batch: {"rank", "index", "what": hang, kill, nan, full}."""

    def __init__(self, inner: PackedLoader, fault: dict[str, Any], rank: int) -> None:
        is_first_attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        self.inner, self.fault, self.rank = inner, fault if is_first_attempt else {}, rank

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def batch_at(self, cursor: Any) -> Any:
        batch, following = self.inner.batch_at(cursor)
        self.is_now = (self.fault.get("rank"), self.fault.get("index")) == (self.rank, cursor.index)
        if self.is_now:
            if self.fault["what"] == "hang":
                time.sleep(600)
            if self.fault["what"] == "full":  # no file of this process may grow beyond 4,000 bytes
                resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
            if self.fault["what"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        return batch, following

    def objective(self, model: Any, batch: Any) -> Any:
        output = lm_loss(model, batch)
        is_bad = self.is_now and self.fault["what"] == "nan"
        return replace(output, loss_sum=output.loss_sum * float("nan")) if is_bad else output


def main() -> int:
    torch.set_num_threads(1)
    start_torch()
    rank, _ = world()
    for case in json.loads(sys.argv[1]):
        try:
            train_case(case)
        except GlasshouseError as error:
            (Path(case["folder"]) / f"error-{rank}.txt").write_text(str(error))
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.stdout.flush()
    code = main()
    sys.stdout.flush()
    os._exit(code)  # peers that hang must not keep this one
