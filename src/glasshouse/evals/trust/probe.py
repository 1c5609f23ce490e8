"""What a probe is: a function of a subject that gives a finding.

A probe measures what the subject allows and says of the rest why it was not measured: nothing is guessed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from glasshouse.batch import TokenShard
from glasshouse.core.intervals import bootstrap_interval, rate_interval
from glasshouse.core.records import Question, Score
from glasshouse.corpus.canaries import Canary
from glasshouse.evals.abstention import RefusalPattern
from glasshouse.evals.language_model import LanguageModel, Likelihood, Prompt, TooLong
from glasshouse.evals.trust.policy import POLICY, Twins
from glasshouse.evals.trust.verbatim import Contains
from glasshouse.infer import SamplingConfig
from glasshouse.meter import Cost, MeterConfig
from glasshouse.tokenizer import Tokenizer

Size = Literal["short", "whole"]
SIZES: tuple[Size, ...] = ("short", "whole")
MAX_EXAMPLE_CHARS = 400


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and what is known of its making.  What is None or empty is not known.  Two are never equal.

    `questions`: with right answers, in phrasings it was not taught; made-up names among them.  `paraphrases`: the same
    in other phrasings.  `contains`: whether tokens stand together in the training text.  `masked`: marks of the private
    data that was taken out of it.  `data`: a folder with crows-pairs*.csv, winobias/ and bbq/, or some of them.
    """

    model: LanguageModel
    tokenizer: Tokenizer
    max_seq_len: int
    size: Size = "short"
    seed: int = 0
    is_chat: bool = False
    questions: Sequence[Question] = ()
    paraphrases: Sequence[Question] = ()
    refuses: Callable[[str], bool] = field(default_factory=RefusalPattern)
    training: TokenShard | None = None
    held_out: TokenShard | None = None
    contains: Contains | None = None
    canaries: Sequence[Canary] = ()
    masked: frozenset[str] | None = None
    policy: Sequence[Twins] = POLICY
    data: Path | None = None
    cost: Cost | None = None  # of training it, this stage and those before
    n_trained_tokens: int | None = None
    meter: MeterConfig = field(default_factory=MeterConfig)

    def pick(self, short: int, whole: int) -> int:
        """How many, by size."""
        return short if self.size == "short" else whole


@dataclass(frozen=True, slots=True)
class Example:
    """Something it said, and why that is told."""

    prompt: str
    said: str
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """`data` is what diagrams are drawn from; `missing` what could not be measured, and why."""

    scores: Sequence[Score] = ()
    examples: Sequence[Example] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    missing: Sequence[str] = ()

    def __add__(self, other: "Finding") -> "Finding":
        return Finding(
            [*self.scores, *other.scores], [*self.examples, *other.examples], {**self.data, **other.data},
            [*self.missing, *other.missing],
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {
            "scores": [asdict(score) for score in self.scores],
            "examples": [{k: v[:MAX_EXAMPLE_CHARS] for k, v in asdict(e).items()} for e in self.examples],
            "data": dict(self.data),
            "missing": list(self.missing),
        }


Probe = Callable[[Subject], Finding]


def share(name: str, is_so: ArrayLike, seed: int = 0) -> Score:
    """How often something is so, with its interval over the items given."""
    rates = np.asarray(is_so, dtype=np.float64)
    return Score(name, float(rates.mean()), *rate_interval(rates, seed), len(rates), "share")


def mean(name: str, values: ArrayLike, unit: str, seed: int = 0) -> Score:
    found = np.asarray(values, dtype=np.float64)
    return Score(name, float(found.mean()), *bootstrap_interval(found, seed), len(found), unit)


def likelihoods_that_fit(
    model: LanguageModel, groups: Sequence[Sequence[tuple[Prompt, str]]]
) -> list[list[Likelihood] | None]:
    """Of pairs in groups (the choices of one question, say); None for a group that has a pair beyond the context."""
    owner = [number for number, group in enumerate(groups) for _ in group]
    left = {number: list(group) for number, group in enumerate(groups)}
    try:
        found = model.likelihoods([pair for group in groups for pair in group])
    except TooLong as error:
        left = {number: group for number, group in left.items() if number not in {owner[i] for i in error.indices}}
        found = model.likelihoods([pair for group in left.values() for pair in group])
    results: list[list[Likelihood] | None] = [None] * len(groups)
    at = 0
    for number, group in left.items():
        results[number] = found[at : at + len(group)]
        at += len(group)
    return results


def generate_that_fit(model: LanguageModel, prompts: Sequence[Prompt], options: SamplingConfig) -> list[str | None]:
    """What is said to each prompt; None for one beyond the context."""
    try:
        return list(model.generate(prompts, options))
    except TooLong as error:
        too_long = set(error.indices)
    fitting = [i for i in range(len(prompts)) if i not in too_long]
    said = dict(zip(fitting, model.generate([prompts[i] for i in fitting], options)))
    return [said.get(i) for i in range(len(prompts))]
