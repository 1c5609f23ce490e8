"""PPO and GRPO where the best policy is known: one answer token, a reward for each, a price on leaving the reference.

For r(a) - beta x KL(pi || reference) the optimum is pi*(a) = reference(a) exp(r(a) / beta) / Z, and its value is
beta ln Z (arXiv:2305.18290, eq. 4 and 5).  Both methods train a tiny model through all that real runs go through:
engine, rollout files, trainer.  Figures: the objective reached as a share of the optimum, and the share of the way
there from the reference.

    python benchmarks/toy_rewards.py            writes nothing: `learning_from_people.py` collects the figures
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glasshouse.align import Exchange, OnlineConfig, Prompt, RolloutConfig, train_on_rewards
from glasshouse.align.methods import MethodName
from glasshouse.checkpoint import load_model, save_checkpoint
from glasshouse.core.records import Message
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.infer import chat_ids
from glasshouse.meter import DeviceProfile, Meter, MeterConfig
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective.grpo import GRPOConfig
from glasshouse.objective.ppo import PPOConfig
from glasshouse.optim import OptimConfig, ScheduleConfig
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer

PROFILE = DeviceProfile("toy", "cpu", 1, 10**9, 1e11, 1e10, 0.0, torch.__version__)
BETA = 0.25
ASKED = (Message("user", "a"),)


@dataclass(frozen=True)
class LetterReward:
    """From 0 to 1 by the answer's letter; nothing for none."""

    name: str = "letter"

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        return [(ord(e.answer[0]) * 7 % 17) / 16 if e.answer else 0.0 for e in exchanges]


def parent_of(folder: Path) -> Path:
    """A tiny model with an uneven opinion about its 17 tokens."""
    tokenizer = train_tokenizer(["a"], TokenizerConfig(kind="char", vocab_size=18))
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=32, n_layers=1, n_heads=2, n_kv_heads=2, d_head=16, d_ff=48,
        max_seq_len=32,
    )  # fmt: skip
    model = Transformer(shape, seed=1)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(8)
    return save_checkpoint(folder / "parent", model, tokenizer, recipe={}, cost=None, provenance={})


def logp_of_answers(checkpoint: Path) -> Tensor:
    """(V,) of the one token."""
    model, tokenizer = load_model(checkpoint)
    with torch.no_grad():
        logits_BTV = model(torch.tensor([chat_ids(tokenizer, ASKED)]))
    return logits_BTV[0, -1].double().log_softmax(0)


def rewards_of_tokens(checkpoint: Path) -> Tensor:
    _, tokenizer = load_model(checkpoint)
    ends = set(tokenizer.end_ids)
    texts = ["" if id in ends else tokenizer.decode([id]) for id in range(tokenizer.vocab_size)]
    return torch.tensor(LetterReward()([Exchange(ASKED, text) for text in texts]), dtype=torch.float64)


def config_of(method: MethodName, n_iterations: int, n_answers: int, lr: float) -> OnlineConfig:
    return OnlineConfig(
        method=method, n_iterations=n_iterations, n_minibatches=2, n_passes=2,
        rollout=RolloutConfig(n_prompts=1, n_answers=n_answers, max_tokens=1),
        grpo=GRPOConfig(kl_weight=BETA, scales_by_std=False),
        ppo=PPOConfig(kl_weight=BETA, clip_value=None),
        optim=OptimConfig(matrices="adamw", matrix_lr=lr, embedding_lr=lr, head_lr=lr, vector_lr=lr),
        schedule=ScheduleConfig(kind="linear", warmup_steps=5), checkpoint_every_s=None, n_judged=1,
    )  # fmt: skip


def toy(method: MethodName, folder: Path, n_iterations: int = 150, n_answers: int = 256, lr: float = 5e-3) -> Any:
    """The value of the objective before, after, and at the optimum."""
    parent = parent_of(folder)
    run = RunDirectory(folder / method).create()
    started_at = time.perf_counter()
    result = train_on_rewards(
        parent, [Prompt(ASKED)], LetterReward(), config_of(method, n_iterations, n_answers, lr), run=run,
        folder=run.stage("align"), terminal=Terminal(is_quiet=True), meter=Meter(MeterConfig()).start(),
        profile=PROFILE,
    )  # fmt: skip
    seconds = time.perf_counter() - started_at
    reward_V, reference_V, policy_V = (
        rewards_of_tokens(parent),
        logp_of_answers(parent),
        logp_of_answers(result.checkpoint),
    )

    def value(logp_V: Tensor) -> float:
        return float((logp_V.exp() * (reward_V - BETA * (logp_V - reference_V))).sum())

    best = float(BETA * torch.logsumexp(reference_V + reward_V / BETA, 0))
    before, after = value(reference_V), value(policy_V)
    return {
        "method": method,
        "value_before": before,
        "value": after,
        "optimum": best,
        "share_of_optimum": after / best,
        "share_of_the_way": (after - before) / (best - before),
        "seconds": seconds,
        "steps": result.steps,
    }


def figures(n_iterations: int = 150) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        return [toy(method, Path(folder) / method, n_iterations) for method in ("grpo", "ppo")]


if __name__ == "__main__":
    json.dump(figures(*map(int, sys.argv[1:])), sys.stdout, indent=2)
