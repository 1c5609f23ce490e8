"""Best of n: sample n answers, let the reward choose.  The honest baseline of every method that trains: it costs n
times the answering and no training at all.

How far it moves away from the model is known without measuring: the KL divergence is at most ln n - (n - 1)/n nats for
a whole answer (arXiv:2401.01879, theorem 1; equal to it where no two answers have the same reward).
Units: rewards, nats.  Left out: choosing by votes instead of a reward.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from glasshouse.align.rewards import Exchange, Reward, rewards_of
from glasshouse.align.rollout import Prompt
from glasshouse.core.config import Config
from glasshouse.core.errors import DataError
from glasshouse.core.files import write_json
from glasshouse.core.intervals import bootstrap_interval
from glasshouse.core.records import Question
from glasshouse.core.seeds import derive_seed
from glasshouse.core.terminal import Terminal
from glasshouse.infer import Engine, FinishReason, SamplingConfig, chat_ids


class BestOfNConfig(Config):
    n: int = Field(default=16, gt=0)  # answers to each prompt
    max_tokens: int = Field(default=64, gt=0)  # of an answer
    temperature: float = Field(default=1.0, gt=0)
    seed: int = 0
    n_shown: int = Field(default=20, ge=0)  # of the prompts, those that gained most, in align.json


@dataclass(frozen=True, slots=True)
class Candidate:
    answer: str
    reward: float
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class Candidates:
    """All answers to one prompt, as they were sampled: the first is what the model itself would have said."""

    prompt: Prompt
    answers: tuple[Candidate, ...]

    @property
    def first(self) -> Candidate:
        return self.answers[0]

    @property
    def best(self) -> Candidate:
        """The highest reward; of equals the one sampled first."""
        return max(self.answers, key=lambda candidate: candidate.reward)


@dataclass(frozen=True, slots=True)
class BestReward:
    """The mean over prompts of the best of n answers' reward, with its 95 % interval over prompts."""

    n: int
    reward: float
    low: float
    high: float
    kl_bound: float  # nats an answer


def kl_bound(n: int) -> float:
    """KL of the best of n from the model, at most, nats an answer.  kl_bound(1) -> 0, kl_bound(16) -> 1.835"""
    return math.log(n) - (n - 1) / n


def best_of_n(
    engine: Engine, prompts: Sequence[Prompt | Question], reward: Reward, config: BestOfNConfig,
    terminal: Terminal | None = None,
) -> list[Candidates]:  # fmt: skip
    """Ask every prompt `n` times and judge every answer.  The same for the same (weights, config)."""
    if not prompts:
        raise DataError("there are no prompts to answer; give at least one")
    asked = [p if isinstance(p, Prompt) else Prompt.of(p) for p in prompts]
    ids = [chat_ids(engine.tokenizer, p.messages) for p in asked for _ in range(config.n)]
    settings = [
        SamplingConfig(
            temperature=config.temperature, max_tokens=config.max_tokens, seed=derive_seed(config.seed, "best_of_n", i)
        )
        for i in range(len(ids))
    ]  # fmt: skip
    with (terminal or Terminal(is_quiet=True)).task("sampling", total=len(ids)) as task:
        completions = engine.generate(
            ids, settings, on_finished=lambda n: task.advance_to(n, f"{n:,} of {len(ids):,} answers")
        )
    exchanges = [Exchange(asked[i // config.n].messages, c.text, asked[i // config.n].question, c.finish_reason)
                 for i, c in enumerate(completions)]  # fmt: skip
    judged = [Candidate(e.answer, r, e.finish_reason) for e, r in zip(exchanges, rewards_of(reward, exchanges))]
    return [Candidates(p, tuple(judged[i * config.n : (i + 1) * config.n])) for i, p in enumerate(asked)]


def expected_best(rewards: Sequence[float], k: int) -> float:
    """The mean of the largest of k of these rewards, over all choices of k: what best of k would have given.

    The i-th smallest of n is the largest of C(i - 1, k - 1) choices.  expected_best([0, 0, 1], 2) -> 2/3; for rewards
    0 and 1 this is pass@k (arXiv:2107.03374, eq. 1).
    """
    n = len(rewards)
    ways = [math.comb(i, k - 1) for i in range(n)]
    return sum(way * reward for way, reward in zip(ways, sorted(rewards))) / math.comb(n, k)


def reward_curve(candidates: Sequence[Candidates], seed: int = 0) -> list[BestReward]:
    """Best of 1, 2, 4, ... and n, all from the same answers."""
    n = len(candidates[0].answers)
    curve = []
    for k in sorted({2**power for power in range(n.bit_length()) if 2**power <= n} | {n}):
        best = [expected_best([answer.reward for answer in c.answers], k) for c in candidates]
        low, high = bootstrap_interval(best, seed)
        curve.append(BestReward(k, sum(best) / len(best), low, high, kl_bound(k)))
    return curve


def run_best_of_n(
    engine: Engine, prompts: Sequence[Prompt | Question], reward: Reward, config: BestOfNConfig, *,
    folder: Path, terminal: Terminal,
) -> list[BestReward]:  # fmt: skip
    """Best of n on `prompts`: `folder`/align.json holds the curve and the prompts that gained most."""
    candidates = best_of_n(engine, prompts, reward, config, terminal)
    curve = reward_curve(candidates, config.seed)
    write_json(folder / "align.json", summary_of(candidates, curve, reward.name, config))
    last = curve[-1]
    terminal.line(
        "best of n", f"reward {curve[0].reward:.3f} → {last.reward:.3f} ({last.low:.3f}–{last.high:.3f}) with the best "
        f"of {last.n} on {len(candidates)} prompts · KL at most {last.kl_bound:.2f} nats an answer",
    )  # fmt: skip
    return curve


def summary_of(
    candidates: Sequence[Candidates], curve: Sequence[BestReward], reward: str, config: BestOfNConfig
) -> dict[str, Any]:
    """`align.json`, with the fields of the methods that train."""
    gained = sorted(candidates, key=lambda c: c.first.reward - c.best.reward)
    samples = [
        {"prompt": c.prompt.messages[-1].content, "before": c.first.answer, "after": c.best.answer,
         "reward_before": c.first.reward, "reward_after": c.best.reward}
        for c in gained[: config.n_shown]
    ]  # fmt: skip
    return {
        "method": "best_of_n",
        "reward": reward,
        "n_prompts": len(candidates),
        "n_answers": sum(len(c.answers) for c in candidates),
        "reward_before": curve[0].reward,
        "reward_after": curve[-1].reward,
        "kl": curve[-1].kl_bound,
        "curve": [asdict(point) for point in curve],
        "samples": samples,
    }
