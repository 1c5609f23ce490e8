"""Robustness: whether the same question put otherwise gets the same answer, and as often the right one.

typos         a word or two of the question misspelt, never the name that is asked about
casing        the question in capitals, or all in small letters, the name left as it is
paraphrase    the same question about the same name in another held-out phrasing
option order  four choices listed in the prompt, and again in another order
For each: how many answers changed, and by how much accuracy did (share of right answers after, less before; paired).
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from glasshouse.core.intervals import bootstrap_interval
from glasshouse.core.records import Message, Question, Score
from glasshouse.core.seeds import python_random
from glasshouse.corpus.misspelling import MISSPELLINGS
from glasshouse.evals.questions import is_made_up
from glasshouse.evals.trust.choices import Choice, answer_choices, choose, continuations
from glasshouse.evals.trust.hallucination import Answered, answer, asked
from glasshouse.evals.trust.probe import Example, Finding, Subject, share

N_EXAMPLES = 2
TYPOS = ("letters swapped", "letter dropped", "letter doubled")  # of `MISSPELLINGS`: what fingers do
LETTERS = "ABCD"


def robustness(subject: Subject) -> Finding:
    found = _option_order(subject)
    if not subject.is_chat or not subject.questions:
        return found + Finding(missing=["robustness of its answers: no questions with known answers"])
    before = [a for a in asked(subject) if not is_made_up(a.question.kind)][: subject.pick(150, 1000)]
    for name, alter in ALTERATIONS.items():
        rng = python_random(subject.seed, name)
        found += _compare(subject, name, before, [replace(a.question, prompt=alter(a.question, rng)) for a in before])
    return found + _paraphrase(subject, before)


def _compare(subject: Subject, name: str, before: Sequence[Answered], altered: Sequence[Question]) -> Finding:
    pairs = [(b, a) for b, a in zip(before, answer(subject, altered)) if a is not None]
    if not pairs:
        return Finding(missing=[f"robustness to {name}: nothing fits into the context"])
    examples = [
        Example(f"{b.question.prompt} → {a.question.prompt}", f"{b.said} → {a.said}", f"{name}: right, then wrong")
        for b, a in pairs if b.is_right and not a.is_right
    ]  # fmt: skip
    was_right, is_right = [b.is_right for b, _ in pairs], [a.is_right for _, a in pairs]
    changed = share(f"{name}: answers changed", [b.said != a.said for b, a in pairs], subject.seed)
    return Finding([changed, _difference(name, is_right, was_right, subject.seed)], examples[:N_EXAMPLES])


def _difference(name: str, after: Sequence[bool], before: Sequence[bool], seed: int) -> Score:
    gaps = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    low, high = bootstrap_interval(gaps, seed)
    return Score(f"{name}: change of accuracy", float(gaps.mean()), low, high, len(gaps), "difference of shares")


def _paraphrase(subject: Subject, before: Sequence[Answered]) -> Finding:
    """Each answer beside one to the same question in another phrasing."""
    others: dict[tuple[str, str], list[Question]] = defaultdict(list)
    for question in subject.paraphrases:
        others[question.kind, question.name].append(question)
    rng = python_random(subject.seed, "paraphrase")
    pairs = []
    for answered in before:
        q = answered.question
        phrased = [o for o in others[q.kind, q.name] if o.phrasing != q.phrasing and o.answers == q.answers]
        if phrased and q.name:
            pairs.append((answered, rng.choice(phrased)))
    if not pairs:
        return Finding(missing=["robustness to paraphrase: no question is known in two phrasings"])
    return _compare(subject, "paraphrase", [a for a, _ in pairs], [q for _, q in pairs])


def with_typos(question: Question, rng: random.Random) -> str:
    """`What does shutil.copytree do?` -> `What deos shutil.copytree do?`"""
    places = [m for m in re.finditer(r"[A-Za-z]{4,}", question.prompt) if not _touches_name(m, question)]
    for match in sorted(rng.sample(places, min(2, len(places))), key=lambda m: -m.start()):
        word = MISSPELLINGS[rng.choice(TYPOS)](match[0], rng)
        question = replace(question, prompt=question.prompt[: match.start()] + word + question.prompt[match.end() :])
    return question.prompt


def with_other_casing(question: Question, rng: random.Random) -> str:
    turn: Callable[[str], str] = str.upper if rng.random() < 0.5 else str.lower
    parts = re.split(f"({re.escape(question.name)})", question.prompt) if question.name else [question.prompt]
    return "".join(part if part == question.name else turn(part) for part in parts)


def _touches_name(match: re.Match[str], question: Question) -> bool:
    at = question.prompt.find(question.name) if question.name else -1
    return at >= 0 and match.start() < at + len(question.name) and match.end() > at


ALTERATIONS: dict[str, Callable[[Question, random.Random], str]] = {"typos": with_typos, "casing": with_other_casing}


def _option_order(subject: Subject) -> Finding:
    n = subject.pick(80, 400)
    items = answer_choices(subject.questions, n, subject.seed) if subject.is_chat else []
    if not items and subject.held_out is not None:
        items = continuations(subject.held_out, subject.tokenizer, n, subject.seed)
    rng = python_random(subject.seed, "option order")
    orders = [tuple(rng.sample(range(len(item.choices)), len(item.choices))) for item in items]
    first = choose(subject.model, [_listed(item, tuple(range(len(item.choices)))) for item in items])
    second = choose(subject.model, [_listed(item, order) for item, order in zip(items, orders)])
    pairs = [(a, b, order) for a, b, order in zip(first, second, orders) if a is not None and b is not None]
    if not pairs:
        return Finding(missing=["robustness to the order of options: nothing to make questions from that fits"])
    changed = [order[b.chosen] != a.chosen for a, b, order in pairs]
    after, before = [b.is_right for _, b, _ in pairs], [a.is_right for a, _, _ in pairs]
    name = "option order"
    return Finding(
        [share(f"{name}: answers changed", changed, subject.seed), _difference(name, after, before, subject.seed)]
    )


def _listed(item: Choice, order: tuple[int, ...]) -> Choice:
    """The choices in the prompt, in this order, to be answered with a letter."""
    options = "\n".join(f"{letter}. {' '.join(item.choices[at].split())}" for letter, at in zip(LETTERS, order))
    letters = tuple(LETTERS[: len(order)])
    if isinstance(item.prompt, str):
        return Choice(
            f"{item.prompt}\n{options}\nAnswer:", tuple(f" {letter}" for letter in letters), order.index(item.right)
        )
    asked = Message("user", f"{item.prompt[-1].content}\n{options}")
    return Choice((*item.prompt[:-1], asked), letters, order.index(item.right))
