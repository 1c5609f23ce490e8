"""A run of a few hundred parameters, and a process that makes such runs on demand so that they can be killed.

As a program it reads folders from stdin, one a line, and trains there in a forked child, whose process id it prints
before and whose exit status it prints after: torch is imported once, and nothing is computed before the fork.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from glasshouse.batch import EncodedDocument, PackedLoader, TokenShard, write_shard
from glasshouse.core.environment import start_torch
from glasshouse.core.errors import GlasshouseError
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import DeviceProfile, Meter, MeterConfig
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective import lm_loss
from glasshouse.optim import OptimConfig, ScheduleConfig
from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer
from glasshouse.train import TrainConfig, Trainer

PROFILE = DeviceProfile("test", "cpu", 1, 10**9, 1e11, 1e10, 0.0, torch.__version__)
TEXT = "the quick brown fox jumps over the lazy dog. pack my box with five dozen liquor jugs! " * 30
CONFIG = TrainConfig(
    steps=60, seq_len=16, batch_tokens=64, compile="never", checkpoint_every=7, checkpoint_every_s=None,
    metric_every=1, sample_at=(), optim=OptimConfig(matrix_lr=0.01), schedule=ScheduleConfig(warmup_steps=5),
    max_epochs=None,
)  # fmt: skip


def config_of(**changes: Any) -> TrainConfig:
    return TrainConfig(**{**CONFIG.model_dump(), **changes})


def weights(root: Path) -> dict[str, torch.Tensor]:
    """Of the finished model."""
    return load_file(root / "run/pretrain/checkpoint/model.safetensors")


def tokenizer_of(folder: Path) -> Tokenizer:
    if not (folder / "tokenizer.json").exists():
        train_tokenizer([TEXT], TokenizerConfig(kind="char", vocab_size=64)).save(folder)
    return Tokenizer.load(folder)


def shard_of(folder: Path, tokenizer: Tokenizer) -> TokenShard:
    path = folder / "tokens.bin"
    if path.exists():
        return TokenShard(path, tokenizer.hash)
    return write_shard(path, [EncodedDocument("a", tokenizer.encode(TEXT), "a.txt")], tokenizer)


def trainer_of(root: Path, config: TrainConfig = CONFIG, *, wrap: Callable[[Any], Any] = lambda x: x, **options: Any):
    """A trainer in `root`; `wrap` may stand between loader and trainer."""
    root.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer_of(root)
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, d_head=8, d_ff=24,
        max_seq_len=16,
    )  # fmt: skip
    loader = wrap(PackedLoader(shard_of(root, tokenizer), config.seq_len, config.batch_tokens, seed=config.seed))
    run = RunDirectory(root / "run").create()
    chosen: dict[str, Any] = {
        "stage": "pretrain", "run": run, "folder": run.stage("pretrain"), "terminal": Terminal(is_quiet=True),
        "meter": Meter(MeterConfig()).start(), "device_profile": PROFILE,
    }  # fmt: skip
    return Trainer(Transformer(shape, seed=config.seed), tokenizer, loader, lm_loss, config, **{**chosen, **options})


def serve() -> None:
    """The forking loop.  A folder's line may carry the number of steps: `FOLDER STEPS`."""
    for line in sys.stdin:
        folder, steps = line.rsplit(" ", 1)
        child = os.fork()
        if child == 0:
            os._exit(train(Path(folder), int(steps)))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def train(folder: Path, steps: int) -> int:
    torch.set_num_threads(1)
    start_torch()
    try:
        trainer_of(folder, CONFIG.model_copy(update={"steps": steps})).fit()
    except GlasshouseError as error:
        (folder / "error.txt").write_text(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    serve()
