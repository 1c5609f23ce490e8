"""GRPO optimizer steps per second beside TRL's GRPOTrainer: one tiny model, the same prompts, one paired run.

What "the same rollouts" means here: both sample the same number of answers to the same prompts at temperature 1, all of
exactly the same length (neither may end early), and take one AdamW step from them with the same loss (token-level
GRPO without a reference, TRL's `loss_type="dapo"`, `beta=0`).  The whole step is timed: sampling, reward, loss,
backward, update and each side's own records.  Beside it the update alone, on one stored batch of those rollouts: TRL's
`_compute_loss`, backward, clipping and AdamW in a bare loop (nothing of its trainer around it) against ours.
The model has the shape of `arithmetic.py`'s (0.6 M parameters); it is a Glasshouse checkpoint that transformers opens.
Both run in fp32 with the same number of threads.

    python benchmarks/trl_grpo.py [STEPS]
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from glasshouse.align import Exchange, OnlineConfig, Prompt, RolloutConfig, train_on_rewards
from glasshouse.align.methods import GRPO
from glasshouse.align.rollout import PromptSet
from glasshouse.align.rollout_loader import RolloutLoader
from glasshouse.batch import Cursor, RolloutBatch
from glasshouse.checkpoint import load_model, save_checkpoint
from glasshouse.core.records import Message
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import DeviceProfile, Meter, MeterConfig
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective.grpo import GRPOConfig
from glasshouse.optim import OptimConfig, ScheduleConfig, build_optimizer
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer
from glasshouse.train.gradient import add_gradient

os.environ.setdefault("HF_HUB_OFFLINE", "1")
PROFILE = DeviceProfile("benchmark", "cpu", 1, 10**9, 1e11, 1e10, 0.0, torch.__version__)
N_PROMPTS, N_ANSWERS = 1, 8  # TRL's defaults: batches of 8, in groups of 8
N_TOKENS = 256  # of every answer: TRL's default limit
LR = 1e-4
N_WARMUP = 3
QUESTIONS = [f"{a}+{b}=" for a in range(10, 40, 3) for b in range(11, 50, 7)]


@dataclass(frozen=True)
class DigitReward:
    """The share of digits: something that both can learn at once."""

    name: str = "digits"

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        return [share_of_digits(e.answer) for e in exchanges]


def share_of_digits(text: str) -> float:
    return sum(c.isdigit() for c in text) / max(1, len(text))


def parent_of(folder: Path) -> Path:
    tokenizer = train_tokenizer(["0123456789+-= "], TokenizerConfig(kind="char", vocab_size=64))
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=128, n_layers=3, n_heads=4, n_kv_heads=4, d_head=32, d_ff=352,
        max_seq_len=512,
    )  # fmt: skip
    return save_checkpoint(folder / "parent", Transformer(shape), tokenizer, recipe={}, cost=None, provenance={})


def config_of(n_steps: int) -> OnlineConfig:
    return OnlineConfig(
        n_iterations=n_steps,
        rollout=RolloutConfig(n_prompts=N_PROMPTS, n_answers=N_ANSWERS, max_tokens=N_TOKENS, ignores_end=True),
        grpo=GRPOConfig(normalisation="token"),
        optim=OptimConfig(matrices="adamw", matrix_lr=LR, embedding_lr=LR, head_lr=LR, vector_lr=LR),
        schedule=ScheduleConfig(kind="constant", warmup_steps=0), checkpoint_every_s=None, n_judged=1,
    )  # fmt: skip


def ours(parent: Path, folder: Path, n_steps: int) -> float:
    """Seconds a step, from the moments at which iterations were entered."""
    run = RunDirectory(folder / "ours").create()
    train_on_rewards(
        parent, [Prompt((Message("user", q),)) for q in QUESTIONS], DigitReward(), config_of(n_steps), run=run,
        folder=run.stage("align"), terminal=Terminal(is_quiet=True), meter=Meter(MeterConfig()).start(),
        profile=PROFILE,
    )  # fmt: skip
    return _seconds_a_step([m["at"] for m in run.metrics() if "rollout/reward" in m["metrics"]])


def theirs(parent: Path, folder: Path, n_steps: int) -> tuple[float, Any]:
    """Seconds a step, and the trainer."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig as TRLConfig
    from trl import GRPOTrainer

    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **options: Any) -> None:
            times.append(time.time())

    tokenizer = AutoTokenizer.from_pretrained(parent, padding_side="left")
    settings = TRLConfig(
        output_dir=str(folder / "trl"), per_device_train_batch_size=N_PROMPTS * N_ANSWERS,
        num_generations=N_ANSWERS, max_completion_length=N_TOKENS, max_steps=n_steps, learning_rate=LR,
        lr_scheduler_type="constant", beta=0.0, loss_type="dapo", temperature=1.0, use_cpu=True, bf16=False,
        gradient_checkpointing=False, report_to="none", save_strategy="no", logging_steps=10**6, disable_tqdm=True,
        max_grad_norm=1.0, seed=0, dataloader_num_workers=0,
        generation_kwargs={"min_new_tokens": N_TOKENS},
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32), args=settings,
        processing_class=tokenizer, callbacks=[Clock()],
        train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": q}]} for q in QUESTIONS]),
        reward_funcs=lambda completions, **_: [share_of_digits(c[0]["content"]) for c in completions],
    )  # fmt: skip
    trainer.train()
    return _seconds_a_step(times), trainer


def stored_batch(parent: Path, folder: Path) -> RolloutBatch:
    model, tokenizer = load_model(parent)
    config = config_of(1)
    asked = [Prompt((Message("user", q),)) for q in QUESTIONS]
    method = GRPO(config.grpo, config.rollout, tokenizer.vocab_size, model)
    loader = RolloutLoader(
        model, tokenizer, PromptSet(asked, tokenizer, model.config.max_seq_len, 0), DigitReward(), method,
        config.rollout, folder / "stored", reference=model,
    )  # fmt: skip
    return loader.batch_at(Cursor())[0]


def our_update(parent: Path, batch: RolloutBatch) -> Callable[[], None]:
    model, tokenizer = load_model(parent)
    config = config_of(1)
    optimizer = build_optimizer(model, config.optim)
    method = GRPO(config.grpo, config.rollout, tokenizer.vocab_size, model)

    def step() -> None:
        add_gradient(model, batch, method.loss)
        torch.nn.utils.clip_grad_norm_(optimizer.parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def their_update(trainer: Any, batch: RolloutBatch) -> Callable[[], None]:
    """The same answers, cut as TRL has them: prompt and completion apart (here all prompts have one length)."""
    n_prompt = batch.ids_BT.shape[1] + 1 - N_TOKENS
    ids = torch.cat((batch.ids_BT, batch.rows.targets_BT[:, -1:]), dim=1)
    mask = torch.ones_like(ids)
    inputs = {
        "prompt_ids": ids[:, :n_prompt], "prompt_mask": mask[:, :n_prompt],
        "completion_ids": ids[:, n_prompt:], "completion_mask": mask[:, n_prompt:],
        "advantages": batch.advantage_BT[:, -1], "num_items_in_batch": mask[:, n_prompt:].sum(),
        "old_per_token_logps": batch.sampled_logp_BT[:, n_prompt - 1 :],
    }  # fmt: skip
    model = trainer.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)

    def step() -> None:
        trainer._compute_loss(model, inputs).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def figures(n_steps: int = 40) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parent = parent_of(folder)
        ours(parent, folder / "warm", 5)  # compiles the kernels where that has not been done
        # ours, theirs, ours: a machine that becomes slower meanwhile does so for both
        first = ours(parent, folder / "a", n_steps)
        their_s, trainer = theirs(parent, folder, n_steps)
        our_s = statistics.mean((first, ours(parent, folder / "b", n_steps)))
        batch = stored_batch(parent, folder)
        our_step, their_step = our_update(parent, batch), their_update(trainer, batch)
        pairs = [(_timed(our_step), _timed(their_step)) for _ in range(N_WARMUP + n_steps)][N_WARMUP:]
    our_update_s, their_update_s = (statistics.median(side) for side in zip(*pairs))
    return {
        "steps_per_s": 1 / our_s,
        "trl_steps_per_s": 1 / their_s,
        "ratio": their_s / our_s,
        "updates_per_s": 1 / our_update_s,
        "trl_updates_per_s": 1 / their_update_s,
        "update_ratio": their_update_s / our_update_s,
        "answers_per_step": N_PROMPTS * N_ANSWERS,
        "tokens_per_answer": N_TOKENS,
    }


def _seconds_a_step(times: Sequence[float]) -> float:
    return (times[-1] - times[N_WARMUP]) / (len(times) - 1 - N_WARMUP)


def _timed(step: Callable[[], None]) -> float:
    started_at = time.perf_counter()
    step()
    return time.perf_counter() - started_at


if __name__ == "__main__":
    json.dump(figures(*map(int, sys.argv[1:])), sys.stdout, indent=2)
