"""A model of a few hundred weights that answers with one or a few letters, and a run that rewards some of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from glasshouse.align import Exchange, OnlineConfig, Prompt, RolloutConfig, train_on_rewards
from glasshouse.checkpoint import save_checkpoint
from glasshouse.core.records import Message
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import DeviceProfile, Meter, MeterConfig
from glasshouse.model import ModelConfig, Transformer
from glasshouse.optim import OptimConfig, ScheduleConfig
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer
from glasshouse.train import TrainResult

PROFILE = DeviceProfile("test", "cpu", 1, 10**9, 1e11, 1e10, 0.0, torch.__version__)
LR = 5e-3
PROMPTS = [Prompt((Message("user", text),)) for text in ("a", "bb", "cab")]
CONFIG = OnlineConfig(
    n_iterations=4, n_minibatches=2, rollout=RolloutConfig(n_prompts=2, n_answers=4, max_tokens=4),
    optim=OptimConfig(matrices="adamw", matrix_lr=LR, embedding_lr=LR, head_lr=LR, vector_lr=LR),
    schedule=ScheduleConfig(kind="constant", warmup_steps=0), checkpoint_every_s=None, checkpoint_every=3,
    metric_every=1,
)  # fmt: skip


@dataclass(frozen=True)
class LetterReward:
    """The share of letters from the second half of the alphabet."""

    name: str = "letters"

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        return [sum(c > "m" for c in e.answer) / max(1, len(e.answer)) for e in exchanges]


def config_of(**changes: Any) -> OnlineConfig:
    return OnlineConfig(**{**CONFIG.model_dump(), **changes})


def parent_of(root: Path, vocab_size: int | None = None) -> Path:
    """`vocab_size`: more rows than the tokenizer has ids."""
    tokenizer = train_tokenizer(["abc"], TokenizerConfig(kind="char", vocab_size=32))
    shape = ModelConfig(
        vocab_size=vocab_size or tokenizer.vocab_size, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, d_head=8,
        d_ff=24, max_seq_len=40,
    )  # fmt: skip
    return save_checkpoint(root / "parent", Transformer(shape), tokenizer, recipe={}, cost=None, provenance={})


def train(root: Path, parent: Path, config: OnlineConfig = CONFIG, **options: Any) -> TrainResult:
    run = RunDirectory(root / "run").create()
    chosen: dict[str, Any] = {
        "prompts": PROMPTS, "reward": LetterReward(), "run": run, "folder": run.stage("align"),
        "terminal": Terminal(is_quiet=True), "meter": Meter(MeterConfig()).start(), "profile": PROFILE,
    }  # fmt: skip
    return train_on_rewards(parent, config=config, **{**chosen, **options})
