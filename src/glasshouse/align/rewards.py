"""What an answer is worth: one number for each exchange, from a scorer, a reward model, its form, or a weighted sum.

A reward sees text, never ids, so that it holds for any tokenizer and can be tried by hand.  It is called with many
exchanges at once, because programs run in parallel and a reward model reads in batches.
The names of the command line are in `REWARDS` (end of the file): `numeric`, `0.2*format:REGEX`, `model:FOLDER`.
Left out: rewards for single steps of an answer (process rewards).
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from glasshouse.core.errors import ConfigError, DataError, TrainingError, suggest
from glasshouse.core.records import Conversation, Message, Question
from glasshouse.evals.abstention import RefusalPattern
from glasshouse.evals.questions import is_made_up
from glasshouse.evals.sandbox import describe_protection
from glasshouse.evals.scorers import SCORERS, score_all
from glasshouse.infer import FinishReason


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt and one answer to it.  `question` holds the right answers where there are any."""

    prompt: tuple[Message, ...]
    answer: str
    question: Question | None = None
    finish_reason: FinishReason = "stop"


class Reward(Protocol):
    """`reward(exchanges)` gives one finite number each, higher is better."""

    @property
    def name(self) -> str: ...

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]: ...


class JudgesConversations(Protocol):
    """What a reward model must be able to do: one number a conversation that ends with the assistant."""

    def score(self, conversations: Sequence[Conversation]) -> Sequence[float]: ...


def rewards_of(reward: Reward, exchanges: Sequence[Exchange]) -> list[float]:
    """The rewards, after checking that there is one finite number each: what training must call."""
    values = [float(value) for value in reward(exchanges)]
    if len(values) != len(exchanges):
        raise TrainingError(f"the reward {reward.name!r} gave {len(values)} numbers for {len(exchanges)} answers")
    for value, exchange in zip(values, exchanges):
        if not math.isfinite(value):
            raise TrainingError(
                f"the reward {reward.name!r} gave {value} for the answer {exchange.answer[:80]!r}; nothing can be "
                "learned from that. Mend the reward, or leave this prompt out."
            )
    return values


# ---- whether it is right ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScorerReward:
    """What a scorer of `evals` gives the answer.  With `only_finished` one cut off is worth nothing."""

    name: str
    only_finished: bool = True

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        answers = [_question(e, self.name).answers for e in exchanges]
        values = score_all(self.name, [e.answer for e in exchanges], answers)
        return [float(value) if _counts(e, self.only_finished) else 0.0 for value, e in zip(values, exchanges)]


@dataclass(frozen=True, slots=True)
class HonestReward:
    """Right 1, "I do not know" 0, wrong `wrong`; about something made up: "I do not know" 1, anything else `wrong`.

    With `wrong` = -t / (1 - t) it pays to answer only where one is right with a probability above t: -1 means one
    half (arXiv:2509.04664, section 5).
    """

    wrong: float = -1.0
    scorer: str = "normalised"
    name: str = "honest"
    refuses: Callable[[str], bool] = field(default_factory=RefusalPattern)

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        questions = [_question(e, self.name) for e in exchanges]
        is_right = score_all(self.scorer, [e.answer for e in exchanges], [q.answers for q in questions])
        return [self._value(e, q, right == 1) for e, q, right in zip(exchanges, questions, is_right)]

    def _value(self, exchange: Exchange, question: Question, is_right: bool) -> float:
        if is_right:
            return 1.0
        if not self.refuses(exchange.answer):
            return self.wrong
        return 1.0 if is_made_up(question.kind) else 0.0


@dataclass(frozen=True, slots=True)
class RewardModelReward:
    """What a reward model gives the whole conversation."""

    model: JudgesConversations
    name: str = "model"

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        return list(self.model.score([conversation_of(e) for e in exchanges]))


# ---- shaping: how it is said -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FormatReward:
    """1 where the whole answer has the form of a regular expression (`.` crosses lines), else 0."""

    pattern: str
    name: str = "format"

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        compiled = re.compile(self.pattern, re.DOTALL)
        return [float(compiled.fullmatch(e.answer.strip()) is not None) for e in exchanges]


@dataclass(frozen=True, slots=True)
class LengthReward:
    """0 up to `free_chars`, then falling evenly to -1 at `max_chars` and beyond.

    DAPO's soft punishment of overlong answers (arXiv:2503.14476, eq. 13), in characters instead of tokens.
    """

    max_chars: int
    free_chars: int = 0
    name: str = "length"

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        slope = 1 / (self.max_chars - self.free_chars)
        return [-min(1.0, slope * max(0, len(e.answer) - self.free_chars)) for e in exchanges]


@dataclass(frozen=True, slots=True)
class FinishedReward:
    """0 where the model ended its answer itself, -1 where the limit cut it off."""

    name: str = "finished"

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        return [0.0 if e.finish_reason == "stop" else -1.0 for e in exchanges]


# ---- several at once -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WeightedReward:
    """Sum of weight times reward.  `parts` gives each by itself, to see which of them rises."""

    weighted: tuple[tuple[float, Reward], ...]

    @property
    def name(self) -> str:
        return " + ".join(r.name if w == 1 else f"{w:g}*{r.name}" for w, r in self.weighted)

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        columns = [[weight * value for value in rewards_of(reward, exchanges)] for weight, reward in self.weighted]
        return [sum(row) for row in zip(*columns, strict=True)]

    def parts(self, exchanges: Sequence[Exchange]) -> dict[str, list[float]]:
        return {reward.name: rewards_of(reward, exchanges) for _, reward in self.weighted}


def conversation_of(exchange: Exchange) -> Conversation:
    return Conversation((*exchange.prompt, Message("assistant", exchange.answer)))


def _question(exchange: Exchange, name: str) -> Question:
    if exchange.question is None:
        raise DataError(
            f"the reward {name!r} needs to know what is right, but the prompt {exchange.prompt[-1].content[:60]!r} "
            "comes without answers. Give questions with answers, or choose one that needs none: model, format, length."
        )
    return exchange.question


def _counts(exchange: Exchange, only_finished: bool) -> bool:
    return exchange.finish_reason == "stop" or not only_finished


def describe_reward(reward: Reward) -> list[str]:
    """What a person should know before it is used: what holds back model-written programs, where it runs any."""
    runs_programs = any(isinstance(part, ScorerReward) and part.name == "python" for part in _parts(reward))
    return describe_protection() if runs_programs else []


def reward_models(reward: Reward) -> list[JudgesConversations]:
    """Those that take part in it."""
    return [part.model for part in _parts(reward) if isinstance(part, RewardModelReward)]


def _parts(reward: Reward) -> list[Reward]:
    return [part for _, part in reward.weighted] if isinstance(reward, WeightedReward) else [reward]


# ---- by name ---------------------------------------------------------------------------------------------------------


def _scored(name: str) -> Callable[[str | None], Reward]:
    def make(argument: str | None) -> Reward:
        _no_argument(name, argument)
        if name == "python":
            describe_protection()  # where no program may run, say so now and not after the first answers
        return ScorerReward(name)

    return make


def _honest(argument: str | None) -> Reward:
    return (
        HonestReward() if argument is None else HonestReward(_number("honest", argument, "what a wrong answer costs"))
    )


def _format(argument: str | None) -> Reward:
    if not argument:
        raise ConfigError("the reward 'format' needs a regular expression: format:REGEX")
    try:
        re.compile(argument)
    except re.error as error:
        raise ConfigError(f"the reward 'format': {argument!r} is not a regular expression: {error}") from None
    return FormatReward(argument)


def _length(argument: str | None) -> Reward:
    low, _, high = (argument or "").rpartition("-")
    free, most = (_number("length", n, "characters") if n else 0.0 for n in (low, high))
    if not argument or not 0 <= free < most:
        raise ConfigError(f"the reward 'length' needs length:MAX or length:FREE-MAX in characters; got {argument!r}")
    return LengthReward(int(most), int(free))


def _finished(argument: str | None) -> Reward:
    _no_argument("finished", argument)
    return FinishedReward()


def _model(argument: str | None) -> Reward:
    if not argument:
        raise ConfigError("the reward 'model' needs the folder of a reward model: model:FOLDER (see: glass reward)")
    from glasshouse.align.reward_model import RewardModel  # a sibling that needs torch: only when it is asked for

    return RewardModelReward(RewardModel.load(Path(argument)))


REWARDS: Mapping[str, Callable[[str | None], Reward]] = {
    **{name: _scored(name) for name in SCORERS},
    "honest": _honest,
    "model": _model,
    "format": _format,
    "length": _length,
    "finished": _finished,
}

_TERM = re.compile(r"(?:(?P<weight>[-+]?[0-9.eE+-]+)\s*\*\s*)?(?P<name>[a-z_]+)(?::(?P<argument>.*))?", re.DOTALL)


def make_reward(terms: Sequence[str]) -> Reward:
    """`make_reward(["numeric", "0.1*length:200-400"])`: the weighted sum of `WEIGHT*NAME:ARGUMENT` terms."""
    if not terms:
        raise ConfigError(f"no reward is given. There are: {', '.join(REWARDS)}.")
    weighted = tuple(_weighted(term) for term in terms)
    return weighted[0][1] if len(weighted) == 1 and weighted[0][0] == 1 else WeightedReward(weighted)


def _weighted(term: str) -> tuple[float, Reward]:
    match = _TERM.fullmatch(term.strip())
    if match is None:
        raise ConfigError(f"a reward is written NAME, NAME:ARGUMENT or WEIGHT*NAME:ARGUMENT; got {term!r}")
    weight, name, argument = match["weight"], match["name"], match["argument"]
    if name not in REWARDS:
        raise ConfigError(f"no reward is called {name!r}.{suggest(name, REWARDS)} There are: {', '.join(REWARDS)}.")
    return _number(name, weight, "its weight") if weight else 1.0, REWARDS[name](argument)


def _number(name: str, text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"the reward {name!r}: {what} must be a number; got {text!r}")
    return value


def _no_argument(name: str, argument: str | None) -> None:
    if argument is not None:
        raise ConfigError(f"the reward {name!r} takes no argument; got {argument!r}")
