"""How a question is put: one of many phrasings, with company now and then; and what a hash keeps from training.

Everything is drawn from the caller's random numbers and nothing else, so that the same seed asks the same questions.
A kind of question has trained phrasings and held-out ones; only the former are ever drawn by `Phrasings.ask`.
"""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import TypeVar

from glasshouse.corpus import wording
from glasshouse.corpus.wording import Subject

Item = TypeVar("Item")

HELD_OUT_NAMES_PERCENT = 3
P_OPENER, P_CLOSER = 0.1, 0.08
# Words drawn from the docstrings at random, around some questions; around a name alone they ask for its summary.  Twice
# as many did as well on held-out phrasings, for longer prompts.
P_RANDOM_WORDS, P_NAME_AMONG_WORDS = 0.28, 0.08
# Of questions, and of their words that any kind of question may hold: these give way to random ones, so that a name is
# found by what it is and not by the frame around it.
P_BLURRED, P_WORD_BLURRED = 0.4, 0.4
P_MARKED = 0.4  # of names of code, put in backticks
P_COLLOQUIAL = 0.25  # begun in lower case, without a mark at the end
ALTERNATIVES = re.compile(r"\(([^()]*\|[^()]*)\)")
PROSE_WORD = r"(?<![\w.`'])[A-Za-z]?[a-z]{1,12}(?![\w.(`'])"
WORD = re.compile(r"(?<![\w{])[A-Za-z']+(?![\w}])")
DELIMITED = re.compile(r"`\{name\}`|\"\{name\}\"")


@dataclass(frozen=True, slots=True)
class Phrasings:
    """The tables of one subject.  `prose`: distinct words without meaning to any question, for company."""

    trained: Mapping[str, Sequence[str]]
    openers: Sequence[str]
    closers: Sequence[str]
    prose: Sequence[str]
    alone: Mapping[str, Sequence[str]]  # forms of a name that ask a kind of question by standing among random words
    worded: frozenset[
        str
    ]  # kinds whose names are words: marked by the phrasings, company only where marks show their ends
    p_marked: float  # share of the other names put in backticks
    telling: Mapping[str, frozenset[str]]  # words of one kind's phrasings alone: they say what is asked

    def ask(self, kind: str, name: str, rng: random.Random) -> str:
        """A question in a trained phrasing: `Hi, what is json? Thanks!`, now and then between words of no meaning."""
        if kind in self.alone and rng.random() < P_NAME_AMONG_WORDS:
            name = rng.choice(self.alone[kind]).format(name=name)
            return f"{self.random_words(rng)} {name} {self.random_words(rng)}"
        phrasing = spell_out(rng.choice(self.trained[kind]), rng)
        if kind not in self.worded and rng.random() < P_BLURRED:
            phrasing = self._blur(kind, phrasing, rng)
        marked = f"`{name}`" if kind not in self.worded and rng.random() < self.p_marked else name
        if kind not in self.worded and rng.random() < P_COLLOQUIAL:
            phrasing = phrasing[0].lower() + phrasing[1:].rstrip(".?!:")
        prompt = phrasing.format(name=marked)
        if rng.random() < P_OPENER:
            prompt = rng.choice(self.openers) + prompt
        if rng.random() < P_CLOSER:
            prompt = prompt + rng.choice(self.closers)
        has_clear_ends = kind not in self.worded or DELIMITED.search(phrasing) is not None
        if rng.random() < P_RANDOM_WORDS and has_clear_ends:
            words = self.random_words(rng)
            prompt = f"{words} {prompt}" if rng.random() < 0.5 else f"{prompt} {words}"
        return prompt

    def _blur(self, kind: str, phrasing: str, rng: random.Random) -> str:
        def other(match: re.Match[str]) -> str:
            is_kept = match[0].lower() in self.telling[kind] or rng.random() >= P_WORD_BLURRED
            return match[0] if is_kept else rng.choice(self.prose)

        return WORD.sub(other, phrasing)

    def random_words(self, rng: random.Random) -> str:
        return " ".join(rng.choice(self.prose) for _ in range(rng.randint(1, 5)))


def phrasings(subject: Subject, prose: Sequence[str]) -> Phrasings:
    """Those of one subject, from the tables of `wording`."""
    return replace(_without_company(subject), prose=prose)


@cache
def _without_company(subject: Subject) -> Phrasings:
    trained = wording.by_kind(wording.TRAINED, subject)
    return Phrasings(
        trained, wording.for_subject(wording.OPENERS, subject), wording.for_subject(wording.CLOSERS, subject), (),
        wording.by_kind(wording.ALONE, subject), wording.WORDED, P_MARKED, telling_words(trained),
    )  # fmt: skip


def telling_words(trained: Mapping[str, Sequence[str]]) -> Mapping[str, frozenset[str]]:
    """By kind, the words of its phrasings that no other kind has.

    >>> sorted(telling_words({"module": ["Which module has {name}?"], "summary": ["What has {name}?"]})["module"])
    ['module', 'which']
    """
    words = {kind: {w.lower() for p in table for w in WORD.findall(p)} for kind, table in trained.items()}
    return {kind: frozenset(own.difference(*(w for k, w in words.items() if k != kind))) for kind, own in words.items()}


def spell_out(frame: str, rng: random.Random) -> str:
    """One of a frame's phrasings: `"(Which|What) module has {name}?"` -> `"What module has {name}?"`."""
    return ALTERNATIVES.sub(lambda match: rng.choice(match[1].split("|")), frame)


def fit_prose(words: Iterable[str], unfit: Iterable[str], held_out: Mapping[str, Sequence[str]]) -> list[str]:
    """Words for company: none that means something (`unfit`) and none of a held-out phrasing."""
    kept_out = {*unfit, *(word for table in held_out.values() for p in table for word in re.findall(r"\w+", p))}
    return sorted({word for word in words if word not in kept_out and word.lower() not in kept_out})


def bucket(purpose: str, text: str, n_buckets: int) -> int:
    return int.from_bytes(sha256(f"{purpose}:{text}".encode("utf-8", "surrogatepass")).digest()[:8]) % n_buckets


def is_held_out(name: str) -> bool:
    """Whether a real name is kept from training: 3 in 100."""
    return bucket("held-out name", name, 100) < HELD_OUT_NAMES_PERCENT


def is_made_up_for_evaluation(name: str) -> bool:
    """Whether a made-up name belongs to evaluation, never to training: 1 in 10."""
    return bucket("made-up name", name, 10) == 0


def repeat(items: Sequence[Item], count: int, rng: random.Random) -> list[Item]:
    """`count` items, each as often as any other: whole copies, then a random sample of the rest."""
    whole, rest = divmod(count, len(items)) if items else (0, 0)
    return list(items) * whole + rng.sample(items, rest)
