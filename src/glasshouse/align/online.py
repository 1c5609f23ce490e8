"""Learning from rewards while answering: sample, judge, step, again, by GRPO or PPO and the one trainer.

    train_on_rewards(checkpoint, prompts, make_reward(["numeric"]), OnlineConfig(n_iterations=100), run=..., ...)

The stage's folder holds, beside what every training leaves: `rollouts/` (every iteration's answers), `align.json` (what
became of the rewards, with the answers whose reward rose most: where a reward is gamed, it shows there first), and for
PPO `value_head.safetensors`.
Units: rewards, nats a token.  Left out: sampling on other machines while this one trains.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from glasshouse.align.alarms import AlarmConfig, Logbook
from glasshouse.align.methods import GRPO, PPO, Method, MethodName
from glasshouse.align.reference import recipe_of
from glasshouse.align.rewards import Exchange, Reward, rewards_of
from glasshouse.align.rollout import Prompt, PromptSet, RolloutConfig, check_room, sampling_engine
from glasshouse.align.rollout_loader import IterationRecord, RolloutLoader, read_record
from glasshouse.checkpoint import load_model
from glasshouse.core.config import Config
from glasshouse.core.environment import default_device
from glasshouse.core.files import write_json
from glasshouse.core.records import Question
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.seeds import derive_seed
from glasshouse.core.terminal import Terminal
from glasshouse.infer import SamplingConfig
from glasshouse.meter import DeviceProfile, Meter
from glasshouse.model import Transformer
from glasshouse.objective.grpo import GRPOConfig
from glasshouse.objective.ppo import PPOConfig
from glasshouse.optim import OptimConfig, ScheduleConfig
from glasshouse.tokenizer import Tokenizer
from glasshouse.train import GuardConfig, TrainConfig, Trainer, TrainResult

ROLLOUTS, ALIGN, VALUE_HEAD = "rollouts", "align.json", "value_head.safetensors"
LR = 2e-4  # with AdamW; Muon's steps have the same size however little the rewards say


class OnlineConfig(Config):
    method: MethodName = "grpo"
    n_iterations: int = Field(gt=0)  # rollouts, then steps from them
    n_minibatches: int = Field(default=1, gt=0)  # steps that one pass over the rollouts takes
    n_passes: int = Field(default=1, gt=0)
    rollout: RolloutConfig = RolloutConfig()
    grpo: GRPOConfig = GRPOConfig()
    ppo: PPOConfig = PPOConfig()
    alarm: AlarmConfig = AlarmConfig()
    optim: OptimConfig = OptimConfig(matrices="adamw", matrix_lr=LR, embedding_lr=LR, head_lr=LR, vector_lr=LR)
    schedule: ScheduleConfig = ScheduleConfig(kind="constant", warmup_steps=5)
    clip_norm: float | None = Field(default=1.0, gt=0)
    guard: GuardConfig = GuardConfig()
    microbatch_tokens: int | None = Field(default=None, gt=0)
    eval_every: int | None = Field(default=None, gt=0)  # iterations; the held-out prompts, greedily
    checkpoint_every_s: float | None = Field(default=60.0, ge=0)
    checkpoint_every: int | None = Field(default=None, gt=0)  # steps
    metric_every: int | None = Field(default=None, gt=0)  # steps; None: about once a second
    n_judged: int = Field(default=64, gt=0)  # prompts answered before and after, for the report
    n_shown: int = Field(default=20, ge=0)  # of them, those whose reward rose most
    seed: int = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        rollout = self.rollout
        if self.method == "grpo" and rollout.n_answers < 2:
            raise ValueError("grpo judges answers against each other: rollout.n_answers must be at least 2")
        if self.n_minibatches > rollout.n_prompts * rollout.n_answers:
            raise ValueError(
                f"n_minibatches={self.n_minibatches} is more than the {rollout.n_prompts * rollout.n_answers} answers "
                "of an iteration (rollout.n_prompts x rollout.n_answers)"
            )
        return self

    def training(self, max_seq_len: int) -> TrainConfig:
        per_iteration = self.n_minibatches * self.n_passes
        return TrainConfig(
            steps=self.n_iterations * per_iteration, seq_len=max_seq_len,
            batch_tokens=self.rollout.n_prompts * self.rollout.n_answers * max_seq_len,
            microbatch_tokens=self.microbatch_tokens, optim=self.optim, schedule=self.schedule,
            clip_norm=self.clip_norm, guard=self.guard, compile="never", sample_at=(), max_epochs=None, seed=self.seed,
            eval_every=None if self.eval_every is None else self.eval_every * per_iteration,
            checkpoint_every_s=self.checkpoint_every_s, checkpoint_every=self.checkpoint_every,
            metric_every=self.metric_every,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    prompt: str
    answer: str
    reward: float


def train_on_rewards(
    parent: Path, prompts: Sequence[Prompt | Question], reward: Reward, config: OnlineConfig, *,
    run: RunDirectory, folder: Path, terminal: Terminal, meter: Meter, profile: DeviceProfile,
    held_out: Sequence[Prompt | Question] = (), provenance: Mapping[str, Any] | None = None,
) -> TrainResult:  # fmt: skip
    """Train the checkpoint `parent`; goes on where an interrupted run of the same settings stopped, to the bit.

    `held_out` prompts are never trained on; they are answered before, after, and every `eval_every` iterations.
    """
    model, tokenizer = load_model(parent, default_device())
    reference = load_model(parent, model.device)[0].requires_grad_(False)
    check_room(config.rollout, model.config.max_seq_len)
    asked, judged = _prompts(prompts), _prompts(held_out or prompts)[: config.n_judged]
    prompt_set = PromptSet(asked, tokenizer, model.config.max_seq_len, derive_seed(config.seed, "rollouts"))
    method = method_of(config, tokenizer.vocab_size, reference)
    logbook = Logbook(config.alarm, run, folder.name, terminal, config.n_minibatches * config.n_passes)
    loader = RolloutLoader(
        model, tokenizer, prompt_set, reward, method, config.rollout, folder / ROLLOUTS, reference=reference,
        n_minibatches=config.n_minibatches, n_passes=config.n_passes, settings=_settings(config), tell=logbook.tell,
    )  # fmt: skip

    def judge(judged_model: Transformer) -> list[JudgedAnswer]:
        return judge_answers(judged_model, tokenizer, judged, reward, config.rollout.max_tokens)

    result = Trainer(
        model, tokenizer, loader, method.loss, config.training(model.config.max_seq_len), stage=folder.name, run=run,
        folder=folder, terminal=terminal, meter=meter, device_profile=profile, parent=str(parent),
        evaluate=(lambda trained: {"eval/reward": _mean(judge(trained))}) if held_out else None,
        recipe=recipe_of(parent, config), provenance=provenance, beside=method.value_head,
    ).fit()  # fmt: skip
    if method.value_head is not None:
        method.value_head.save(folder / VALUE_HEAD)
    before, after = judge(reference), judge(model)
    summary = summary_of(config, reward.name, len(asked), bool(held_out), before, after, _records(loader, config))
    write_json(folder / ALIGN, summary)
    kind = "held-out prompts" if held_out else "prompts"
    terminal.line(folder.name, f"reward {_mean(before):.3f} → {_mean(after):.3f} on {len(judged)} {kind}")
    return result


def method_of(config: OnlineConfig, n_ids: int, reference: Transformer) -> Method:
    makers: dict[MethodName, Callable[[], Method]] = {
        "grpo": lambda: GRPO(config.grpo, config.rollout, n_ids, reference),
        "ppo": lambda: PPO(config.ppo, config.rollout, n_ids, reference),
    }
    return makers[config.method]()


def judge_answers(
    model: Transformer, tokenizer: Tokenizer, prompts: Sequence[Prompt], reward: Reward, max_tokens: int
) -> list[JudgedAnswer]:
    """The likeliest answers and what they are worth."""
    ids = PromptSet(prompts, tokenizer, model.config.max_seq_len, 0).ids
    longest = min(max(map(len, ids)) + max_tokens, model.config.max_seq_len + 1)
    engine = sampling_engine(model, tokenizer, len(ids), longest)
    completions = engine.generate(ids, SamplingConfig(max_tokens=max_tokens))
    exchanges = [Exchange(p.messages, c.text, p.question, c.finish_reason) for p, c in zip(prompts, completions)]
    rewards = rewards_of(reward, exchanges)
    return [JudgedAnswer(e.prompt[-1].content, e.answer, value) for e, value in zip(exchanges, rewards)]


def summary_of(
    config: OnlineConfig, reward: str, n_prompts: int, is_held_out: bool, before: Sequence[JudgedAnswer],
    after: Sequence[JudgedAnswer], newest_first: Sequence[IterationRecord],
) -> dict[str, Any]:  # fmt: skip
    """`align.json`.  `kl` is the last one measured, nats a token."""
    last = newest_first[0] if newest_first else None
    pairs = sorted(zip(before, after), key=lambda pair: pair[0].reward - pair[1].reward)
    samples = [
        {"prompt": b.prompt, "before": b.answer, "after": a.answer, "reward_before": b.reward, "reward_after": a.reward}
        for b, a in pairs[: config.n_shown]
    ]
    return {
        "method": config.method,
        "reward": reward,
        "n_prompts": n_prompts,
        "n_iterations": config.n_iterations,
        "n_answers": config.n_iterations * config.rollout.n_prompts * config.rollout.n_answers,
        "n_judged": len(before),
        "is_held_out": is_held_out,
        "reward_before": _mean(before),
        "reward_after": _mean(after),
        "kl": next((record.kl for record in newest_first if record.kl is not None), None),
        "last_iteration": None if last is None else asdict(last),
        "samples": samples,
    }


def _records(loader: RolloutLoader, config: OnlineConfig) -> list[IterationRecord]:
    """Of the last iterations, newest first, as far back as the KL is sure to have been measured."""
    numbers = range(config.n_iterations - 1, max(-1, config.n_iterations - 1 - config.rollout.check_every), -1)
    return [record for n in numbers if (record := read_record(loader.path(n))) is not None]


def _settings(config: OnlineConfig) -> dict[str, Any]:
    """Of the method alone: another method's settings may change while a run is interrupted."""
    return {"method": config.method, config.method: config.model_dump(mode="json")[config.method]}


def _prompts(given: Sequence[Prompt | Question]) -> list[Prompt]:
    return [prompt if isinstance(prompt, Prompt) else Prompt.of(prompt) for prompt in given]


def _mean(answers: Sequence[JudgedAnswer]) -> float:
    return sum(a.reward for a in answers) / len(answers)
