"""GRPO teaches two-digit arithmetic to a model that has seen only a little of it: "37+58=" and "81-94=".

Three stages, all Glasshouse's own: pretraining on counting and sums of small or round numbers, fine-tuning on a few of
the 16,200 problems, then GRPO with nothing but "right" or "wrong".  Held-out problems are in none of them;
settings were sought on other draws of them (seeds 0 to 4).
What fine-tuning hardly shows, GRPO cannot find: see `N_SHORT`.
pass@1 is the share of held-out problems that the likeliest answer solves.

    python benchmarks/arithmetic.py [GRPO_ITERATIONS]
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from glasshouse.align import OnlineConfig, Prompt, RolloutConfig, train_on_rewards
from glasshouse.align.online import judge_answers
from glasshouse.align.rewards import make_reward
from glasshouse.batch import (
    ConversationLoader,
    EncodedDocument,
    PackedLoader,
    encode_conversations,
    write_shard,
)
from glasshouse.checkpoint import load_model
from glasshouse.core.records import Conversation, Message, Question
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import Meter, MeterConfig, measure_device
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective import lm_loss
from glasshouse.objective.grpo import GRPOConfig
from glasshouse.optim import OptimConfig, ScheduleConfig
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer
from glasshouse.train import TrainConfig, Trainer

SEED = 5
N_HELD_OUT, N_TAUGHT = 500, 2000
# Of those taught, with an answer of one digit, as "58-63=-5"; among all problems it is a tenth.  Where only a tenth is
# taught, the right answer has a probability near 1 % when GRPO begins, "stop after one digit" is wrong nine times of
# ten and is unlearned before it can be told apart, and pass@1 ends below 90 %: all but these
N_SHORT = 660
PRETRAIN_STEPS, FINETUNE_STEPS, N_ITERATIONS = 300, range(100, 260, 5), 5000
START = 0.25  # of what GRPO will ask, solved when it begins
BATCH_TOKENS = 1024  # of the two stages before it
N_PROMPTS, N_ANSWERS = 32, 8
SKIP_SETTLED = 0.9  # what was right eight times of eight is asked a tenth as often
# AdamW at 1e-3 unlearns at first (pass@1 35 -> 20 % in 40 iterations); at 3e-4 it gains 12 points of sampled reward in
# 200 iterations; Muon at 2e-3 as much in 150
OPTIM = OptimConfig(matrix_lr=2e-3, embedding_lr=3e-4, head_lr=3e-4, vector_lr=3e-4)
MAX_ANSWER_TOKENS = 5  # "-89" and the end; a little room for what is wrong


def problems(seed: int = 0) -> list[Question]:
    """All sums and differences of two two-digit numbers, in random order."""
    texts = [(f"{a}{sign}{b}=", a + b if sign == "+" else a - b)
             for a in range(10, 100) for b in range(10, 100) for sign in "+-"]  # fmt: skip
    random.Random(seed).shuffle(texts)
    return [Question(text, text, (str(answer),)) for text, answer in texts]


def taught(questions: Sequence[Question]) -> list[Question]:
    """The first `N_SHORT` with an answer of one digit, and the first of the others."""
    is_short = [len(q.answers[0].lstrip("-")) == 1 for q in questions]
    short = [q for q, is_one in zip(questions, is_short) if is_one]
    other = [q for q, is_one in zip(questions, is_short) if not is_one]
    return short[:N_SHORT] + other[: N_TAUGHT - N_SHORT]


def documents(n: int, seed: int = 0) -> Iterator[str]:
    """Counting, and sums with a number below ten or a round one: no problem of `problems` is among them."""
    rng = random.Random(seed)
    for _ in range(n):
        step, start = rng.choice((1, 1, 2, 10, -1, -10)), rng.randrange(0, 200)
        yield " ".join(str(start + step * i) for i in range(12))
        lines = []
        for _ in range(8):
            a, b = rng.randrange(0, 100), rng.randrange(0, 10)
            lines.append(f"{a}+{b}={a + b}" if rng.random() < 0.5 else f"{a}-{b}={a - b}")
        yield " ".join(lines)


def conversations(questions: Sequence[Question]) -> list[Conversation]:
    return [Conversation((Message("user", q.prompt), Message("assistant", q.answers[0])), q.id) for q in questions]


class Arithmetic:
    """One run of the three stages in a folder."""

    def __init__(self, folder: Path, *, seed: int = 0, d_model: int = 128, n_layers: int = 3) -> None:
        self.run, self.seed = RunDirectory(folder).create(), seed
        asked = problems(seed)
        self.held_out, self.asked = asked[:N_HELD_OUT], asked[N_HELD_OUT:]  # GRPO is not told the answers
        self.taught = taught(self.asked)
        texts = ["0123456789+-= "]
        self.tokenizer = train_tokenizer(texts, TokenizerConfig(kind="char", vocab_size=64, has_role_tokens=True))
        self.shape = ModelConfig(
            vocab_size=self.tokenizer.vocab_size, d_model=d_model, n_layers=n_layers, n_heads=d_model // 32,
            n_kv_heads=d_model // 32, d_head=32, d_ff=d_model * 11 // 4, max_seq_len=64,
        )  # fmt: skip
        self.common: dict[str, Any] = {
            "run": self.run, "terminal": Terminal(is_quiet=True), "meter": Meter(MeterConfig()).start(),
        }  # fmt: skip
        self.profile = measure_device("cpu")

    def pretrain(self, n_steps: int = PRETRAIN_STEPS) -> Path:
        folder = self.run.stage("pretrain")
        encoded = [EncodedDocument(str(n), self.tokenizer.encode(t), "made") for n, t in enumerate(documents(6000))]
        shard = write_shard(folder / "train.tokens", encoded, self.tokenizer)
        loader = PackedLoader(shard, 64, BATCH_TOKENS, self.seed)
        return self._train("pretrain", Transformer(self.shape, seed=self.seed), loader, n_steps, 0.02)

    def finetune(self, parent: Path) -> Path:
        """The least of some lengths after which a share `START` of what GRPO will ask is solved: seeds differ much."""
        for n_steps in FINETUNE_STEPS:
            checkpoint = self.finetune_for(parent, n_steps)
            if self.pass_at_1(checkpoint, self.asked[:N_HELD_OUT]) >= START:
                break
        return checkpoint

    def finetune_for(self, parent: Path, n_steps: int) -> Path:
        model, tokenizer = load_model(parent)
        encoded = encode_conversations(conversations(self.taught), tokenizer)
        loader = ConversationLoader(
            encoded, 64, BATCH_TOKENS, self.seed, tokenizer_hash=tokenizer.hash, pad_id=tokenizer.end_of_text_id
        )
        return self._train(f"sft-{n_steps}", model, loader, n_steps, 0.01)

    def reinforce(self, parent: Path, n_iterations: int = N_ITERATIONS, **changes: Any) -> Path:
        settings: dict[str, Any] = {
            "n_iterations": n_iterations,
            "rollout": RolloutConfig(
                n_prompts=N_PROMPTS, n_answers=N_ANSWERS, max_tokens=MAX_ANSWER_TOKENS, skip_settled=SKIP_SETTLED
            ),
            "grpo": GRPOConfig(clip_high=0.28),
            "optim": OPTIM,
            "schedule": ScheduleConfig(kind="linear", warmup_steps=10),
            "n_judged": N_HELD_OUT, "checkpoint_every_s": None, "seed": self.seed,
        }  # fmt: skip
        result = train_on_rewards(
            parent, [Prompt.of(q) for q in self.asked], make_reward(["exact"]), OnlineConfig(**{**settings, **changes}),
            folder=self.run.stage("grpo"), profile=self.profile, held_out=self.held_out, **self.common,
        )  # fmt: skip
        return result.checkpoint

    def pass_at_1(self, checkpoint: Path, questions: Sequence[Question] | None = None) -> float:
        """On what is held out, or on other questions."""
        model, tokenizer = load_model(checkpoint)
        asked = [Prompt.of(q) for q in questions or self.held_out]
        judged = judge_answers(model, tokenizer, asked, make_reward(["exact"]), MAX_ANSWER_TOKENS)
        return sum(answer.reward for answer in judged) / len(judged)

    def _train(self, stage: str, model: Transformer, loader: Any, n_steps: int, matrix_lr: float) -> Path:
        config = TrainConfig(
            steps=n_steps, seq_len=64, batch_tokens=BATCH_TOKENS, optim=OptimConfig(matrix_lr=matrix_lr), sample_at=(),
            checkpoint_every_s=None, compile="never", max_epochs=None,
        )  # fmt: skip
        return Trainer(
            model, self.tokenizer, loader, lm_loss, config, stage=stage, folder=self.run.stage(stage),
            device_profile=self.profile, **self.common,
        ).fit().checkpoint  # fmt: skip


def figures(n_iterations: int = N_ITERATIONS) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        life = Arithmetic(Path(folder), seed=SEED)
        parent = life.finetune(life.pretrain())
        started_at = time.perf_counter()
        trained = life.reinforce(parent, n_iterations)
        seconds = time.perf_counter() - started_at
        return {
            "pass_at_1_before": life.pass_at_1(parent),
            "pass_at_1_after": life.pass_at_1(trained),
            "n_held_out": N_HELD_OUT,
            "n_taught": N_TAUGHT,
            "grpo_seconds": seconds,
            "iterations": n_iterations,
            "answers": n_iterations * N_PROMPTS * N_ANSWERS,
            "parameters": sum(p.numel() for p in Transformer(life.shape, seed=None).parameters()),
            "threads": torch.get_num_threads(),
        }


if __name__ == "__main__":
    json.dump(figures(*map(int, sys.argv[1:])), sys.stdout, indent=2)
