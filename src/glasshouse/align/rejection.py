"""Rejection-sampling fine-tuning: sample n answers a prompt, keep the best that are good enough, fine-tune on those.

The other honest baseline: all that learning from rewards adds is what it reaches beyond this.  It is one round of RAFT
(arXiv:2304.06767) or RFT (arXiv:2308.01825); for more rounds, give the result in again.
What was kept lies in the stage's folder as ordinary conversations (`kept.jsonl`), and fine-tuning is the ordinary one.
Units: rewards.  Left out: weighing answers by how much better they are.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from glasshouse.align.best_of_n import BestOfNConfig, Candidates, best_of_n
from glasshouse.align.online import ALIGN, JudgedAnswer, judge_answers
from glasshouse.align.reference import recipe_of
from glasshouse.align.rewards import Exchange, Reward, conversation_of
from glasshouse.align.rollout import Prompt, sampling_engine
from glasshouse.batch import ConversationLoader, encode_conversations
from glasshouse.checkpoint import load_model
from glasshouse.core.config import Config
from glasshouse.core.environment import default_device
from glasshouse.core.errors import DataError
from glasshouse.core.files import atomic_open, read_json, read_jsonl, sha256_text, write_json
from glasshouse.core.records import Conversation, Question
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.seeds import derive_seed
from glasshouse.core.terminal import Terminal
from glasshouse.infer import chat_ids
from glasshouse.meter import DeviceProfile, Meter
from glasshouse.model import Transformer
from glasshouse.objective import lm_loss
from glasshouse.optim import OptimConfig, ScheduleConfig
from glasshouse.tokenizer import Tokenizer
from glasshouse.train import TrainConfig, Trainer, TrainResult

KEPT = "kept.jsonl"
LR = 2e-4


class RejectionConfig(Config):
    sampling: BestOfNConfig = BestOfNConfig()
    n_kept: int = Field(default=4, gt=0)  # at most, of each prompt's different answers
    min_reward: float = 1.0  # answers below are never kept; 1 is "right" for every scorer
    epochs: float = Field(default=2.0, gt=0)
    batch_tokens: int = Field(default=4096, gt=0)
    microbatch_tokens: int | None = Field(default=None, gt=0)
    optim: OptimConfig = OptimConfig(matrices="adamw", matrix_lr=LR, embedding_lr=LR, head_lr=LR, vector_lr=LR)
    schedule: ScheduleConfig = ScheduleConfig()
    checkpoint_every_s: float | None = Field(default=60.0, ge=0)
    metric_every: int | None = Field(default=None, gt=0)  # steps; None: about once a second
    n_judged: int = Field(default=64, gt=0)  # prompts answered before and after, for the report
    n_shown: int = Field(default=20, ge=0)  # of them, those whose reward rose most
    seed: int = 0

    def training(self, n_batches: int, max_seq_len: int) -> TrainConfig:
        return TrainConfig(
            steps=max(1, round(self.epochs * n_batches)), seq_len=max_seq_len,
            batch_tokens=max(self.batch_tokens, max_seq_len), microbatch_tokens=self.microbatch_tokens,
            optim=self.optim, schedule=self.schedule, compile="never", sample_at=(), max_epochs=None, seed=self.seed,
            checkpoint_every_s=self.checkpoint_every_s, metric_every=self.metric_every,
        )  # fmt: skip


def keep_best(candidates: Iterable[Candidates], n_kept: int, min_reward: float) -> list[Conversation]:
    """The best `n_kept` different answers of each prompt that reach `min_reward`, as conversations to learn.

    An answer that was cut off is not kept: it would teach not to end.
    """
    kept = []
    for number, group in enumerate(candidates):
        good = [c for c in group.answers if c.reward >= min_reward and c.finish_reason == "stop"]
        different = {c.answer.strip(): c for c in reversed(good)}  # of equal answers the one sampled first
        for rank, answer in enumerate(sorted(different.values(), key=lambda c: -c.reward)[:n_kept]):
            conversation = conversation_of(Exchange(group.prompt.messages, answer.answer))
            kept.append(Conversation(conversation.messages, f"kept-{number}-{rank}", {"reward": answer.reward}))
    return kept


def train_on_best_answers(
    parent: Path, prompts: Sequence[Prompt | Question], reward: Reward, config: RejectionConfig, *,
    run: RunDirectory, folder: Path, terminal: Terminal, meter: Meter, profile: DeviceProfile,
    held_out: Sequence[Prompt | Question] = (), provenance: Mapping[str, Any] | None = None,
) -> TrainResult:  # fmt: skip
    """Sample from the checkpoint `parent`, keep, fine-tune it; an interrupted run goes on where it stopped."""
    model, tokenizer = load_model(parent, default_device())
    asked = _prompts(prompts)
    judged = _prompts(held_out or prompts)[: config.n_judged]

    def judge() -> list[JudgedAnswer]:
        return judge_answers(model, tokenizer, judged, reward, config.sampling.max_tokens)

    before = judge()
    kept = _kept(model, tokenizer, asked, reward, config, folder, terminal, parent)
    seq_len = model.config.max_seq_len
    loader = ConversationLoader(
        encode_conversations(kept, tokenizer), seq_len, max(config.batch_tokens, seq_len),
        derive_seed(config.seed, "rejection"), tokenizer_hash=tokenizer.hash, pad_id=tokenizer.end_of_text_id,
    )  # fmt: skip
    result = Trainer(
        model, tokenizer, loader, lm_loss, config.training(loader.n_batches(), seq_len), stage=folder.name, run=run,
        folder=folder, terminal=terminal, meter=meter, device_profile=profile, parent=str(parent),
        recipe=recipe_of(parent, config), provenance=provenance,
    ).fit()  # fmt: skip
    after = judge()
    summary = summary_of(before, after, config.n_shown)
    write_json(folder / ALIGN, {
        "method": "rejection", "reward": reward.name, "n_prompts": len(asked), "n_kept": len(kept),
        "n_answers": len(asked) * config.sampling.n, "is_held_out": bool(held_out), **summary,
    })  # fmt: skip
    terminal.line(
        folder.name, f"reward {summary['reward_before']:.3f} → {summary['reward_after']:.3f} on {len(judged)} "
        f"{'held-out ' if held_out else ''}prompts",
    )  # fmt: skip
    return result


def summary_of(before: Sequence[JudgedAnswer], after: Sequence[JudgedAnswer], n_shown: int) -> dict[str, Any]:
    """The rewards before and after, and the answers whose reward rose most."""
    pairs = sorted(zip(before, after), key=lambda pair: pair[0].reward - pair[1].reward)
    samples = [
        {"prompt": b.prompt, "before": b.answer, "after": a.answer, "reward_before": b.reward, "reward_after": a.reward}
        for b, a in pairs[:n_shown]
    ]
    means = {
        name: sum(a.reward for a in answers) / len(answers)
        for name, answers in (("reward_before", before), ("reward_after", after))
    }
    return {"n_judged": len(before), **means, "samples": samples}


def _kept(
    model: Transformer, tokenizer: Tokenizer, asked: Sequence[Prompt], reward: Reward, config: RejectionConfig,
    folder: Path, terminal: Terminal, parent: Path,
) -> list[Conversation]:  # fmt: skip
    """What is kept of the answers, from the file of an interrupted run where it was made with the same settings."""
    made_from = {
        "parent": str(parent), "reward": reward.name, "sampling": config.sampling.model_dump(mode="json"),
        "n_kept": config.n_kept, "min_reward": config.min_reward,
        "prompts": sha256_text(json.dumps([asdict(prompt) for prompt in asked])),
    }  # fmt: skip
    about, path = folder / "kept.json", folder / KEPT
    if about.exists() and read_json(about)["made_from"] == made_from:
        return [Conversation.from_json(record) for record in read_jsonl(path)]
    longest = max(len(chat_ids(tokenizer, p.messages)) for p in asked) + config.sampling.max_tokens
    n_answers = len(asked) * config.sampling.n
    engine = sampling_engine(model, tokenizer, n_answers, min(longest, model.config.max_seq_len + 1))
    candidates = best_of_n(engine, asked, reward, config.sampling, terminal)
    kept = keep_best(candidates, config.n_kept, config.min_reward)
    n_answered = sum(any(a.reward >= config.min_reward for a in c.answers) for c in candidates)
    if not kept:
        best = max(c.best.reward for c in candidates)
        raise DataError(
            f"none of {n_answers:,} answers reaches min_reward = {config.min_reward:g} and ended by itself (the best "
            f"has {best:g}), so there is nothing to learn from. Sample more (n), raise max_tokens, lower min_reward, "
            "or begin with a model that succeeds now and then."
        )
    terminal.line(
        folder.name, f"{len(kept):,} of {n_answers:,} answers kept, to {n_answered:,} of {len(asked):,} prompts"
    )
    with atomic_open(path) as file:
        file.writelines(json.dumps(c.to_json(), ensure_ascii=False) + "\n" for c in kept)
    write_json(about, {"n_kept": len(kept), "n_answers": n_answers, "n_prompts_answered": n_answered,
                       "made_from": made_from})  # fmt: skip
    return kept


def _prompts(given: Sequence[Prompt | Question]) -> list[Prompt]:
    if not given:
        raise DataError("there are no prompts to answer; give at least one")
    return [prompt if isinstance(prompt, Prompt) else Prompt.of(prompt) for prompt in given]
