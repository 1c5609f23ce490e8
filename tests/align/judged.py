"""A chat model of a few hundred parameters as a checkpoint, and people who prefer answers of one kind."""

from pathlib import Path
from typing import Any

import torch

from glasshouse.checkpoint import save_checkpoint
from glasshouse.core.records import Message, Preference
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import DeviceProfile, Meter, MeterConfig
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer

PROFILE = DeviceProfile("test", "cpu", 1, 10**9, 1e11, 1e10, 0.0, torch.__version__)
LETTERS = "abcdefgh?"


def write_parent(folder: Path, seed: int = 0, letters: str = LETTERS) -> Path:
    tokenizer = train_tokenizer(
        [letters * 20, "user\nassistant\nsystem\n"], TokenizerConfig(kind="char", vocab_size=64)
    )
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, d_head=8, d_ff=24,
        max_seq_len=48,
    )  # fmt: skip
    model = Transformer(shape, seed=seed)
    return save_checkpoint(folder, model, tokenizer, recipe={}, cost=None, provenance={})


def preferences(n: int = 40) -> list[Preference]:
    """People like an answer of a, b, c, d and dislike one of e, f, g, h."""
    made = []
    for i in range(n):
        good = "".join("abcd"[(i * k) % 4] for k in range(1, 3 + i % 5))
        bad = "".join("efgh"[(i + k) % 4] for k in range(2 + i % 4))
        made.append(Preference((Message("user", f"{LETTERS[i % 8]}{LETTERS[i // 8 % 8]}?"),), good, bad, f"p{i}"))
    return made


def place(root: Path, stage: str = "align") -> dict[str, Any]:
    """Where a stage works: arguments of both trainings."""
    run = RunDirectory(root).create()
    return {
        "run": run, "folder": run.stage(stage), "terminal": Terminal(is_quiet=True),
        "meter": Meter(MeterConfig()).start(), "profile": PROFILE,
    }  # fmt: skip
