"""Questions with choices, made from what is there: which of four goes on, which of four is the answer.

continuations   a passage of held-out text, the words that follow it, and words from three other places
answers         a question, its right answer, and right answers to other questions of the same kind
Both need no file.  The choices of an item are as long as each other, nearly, so that length decides nothing.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from glasshouse.batch import TokenShard
from glasshouse.core.records import Message, Question
from glasshouse.core.seeds import python_random
from glasshouse.evals.language_model import LanguageModel, Likelihood, Prompt
from glasshouse.evals.questions import choose_questions, is_made_up
from glasshouse.evals.trust.probe import likelihoods_that_fit
from glasshouse.tokenizer import Tokenizer

N_CHOICES = 4
CONTEXT_TOKENS, CONTINUATION_TOKENS = 48, 12


@dataclass(frozen=True, slots=True)
class Choice:
    """`right` is the place of the right one among `choices`."""

    prompt: Prompt
    choices: tuple[str, ...]
    right: int


@dataclass(frozen=True, slots=True)
class Chosen:
    item: Choice
    p: tuple[float, ...]  # of each choice, together 1

    @property
    def chosen(self) -> int:
        return int(np.argmax(self.p))

    @property
    def is_right(self) -> bool:
        return self.chosen == self.item.right


def continuations(shard: TokenShard, tokenizer: Tokenizer, n: int, seed: int) -> list[Choice]:
    """Up to `n` items from as many places; fewer where the text is short, none where it holds too little."""
    length = CONTEXT_TOKENS + CONTINUATION_TOKENS
    rng = python_random(seed, "continuations")
    places = range(1, shard.n_tokens - length, length)
    texts: list[tuple[str, str]] = []
    for start in sorted(rng.sample(places, min(n, len(places)))):
        ids = [int(i) for i in shard.ids[start : start + length]]
        before, after = (tokenizer.decode(part) for part in (ids[:CONTEXT_TOKENS], ids[CONTEXT_TOKENS:]))
        if tokenizer.end_of_text_id not in ids and before.strip() and after.strip():
            texts.append((before, after))
    if len({after for _, after in texts}) < N_CHOICES:
        return []
    return [_with_others(before, after, [a for _, a in texts], rng) for before, after in texts]


def answer_choices(questions: Sequence[Question], n: int, seed: int) -> list[Choice]:
    """Of questions about real names; wrong choices are right answers to others of the same kind."""
    rng = python_random(seed, "answer choices")
    real = [q for q in questions if q.answers and not is_made_up(q.kind)]
    by_kind: dict[str, list[str]] = {}
    for question in real:
        by_kind.setdefault(question.kind, []).append(question.answers[0])
    pools: Mapping[str, list[str]] = {kind: sorted(set(answers)) for kind, answers in by_kind.items()}
    usable = [q for q in real if len(pools[q.kind]) >= N_CHOICES + len(q.answers)]
    return [
        _with_others((Message("user", q.prompt),), q.answers[0], [a for a in pools[q.kind] if a not in q.answers], rng)
        for q in choose_questions(usable, n, seed)
    ]


def _with_others(prompt: Prompt, right: str, pool: Sequence[str], rng: random.Random) -> Choice:
    """The three of a draw of others that are nearest in length."""
    drawn = {rng.choice(pool) for _ in range(24)} - {right}
    others = sorted(drawn, key=lambda text: (abs(len(text) - len(right)), text))[: N_CHOICES - 1]
    choices = [right, *others]
    rng.shuffle(choices)
    return Choice(prompt, tuple(choices), choices.index(right))


def choose(model: LanguageModel, items: Sequence[Choice]) -> list[Chosen | None]:
    """Each choice's share of the probability of all; None for an item beyond the context."""
    found = likelihoods_that_fit(model, [[(item.prompt, choice) for choice in item.choices] for item in items])
    return [None if likelihoods is None else _chosen(item, likelihoods) for item, likelihoods in zip(items, found)]


def _chosen(item: Choice, likelihoods: Sequence[Likelihood]) -> Chosen:
    logps = np.array([each.logp_sum for each in likelihoods])
    p = np.exp(logps - logps.max())
    return Chosen(item, tuple((p / p.sum()).tolist()))
