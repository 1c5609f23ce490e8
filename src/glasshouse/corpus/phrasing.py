"""How a question is put: composed of the tables of `wording`; and what a hash keeps from training.

    phrasing                What does {name} do?
    cues, any order         import need {name}, where from
    beside a statement      Our pipeline used {name} yesterday. What does it do?

Around it, now and then, stand an opener, a closer, words of no meaning to it; within it, words that any kind of
question may hold give way to such.  A question that shares more than half of a held-out phrasing's pairs of words is
drawn anew.  Everything is drawn from the caller's random numbers and nothing else, so that the same seed asks the same
questions.
"""

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import TypeVar

from glasshouse.corpus import wording
from glasshouse.corpus.wording import Subject

Item = TypeVar("Item")

HELD_OUT_NAMES_PERCENT = 3
P_OPENER, P_CLOSER = 0.08, 0.06
P_CUES, P_STATED = 0.1, 0.3  # of questions: put in a few cues, beside a statement
P_STATED_AFTER = 0.25  # of statements: said after the question
P_EVERYDAY = 0.2  # of words of company: names that are words too
FREQUENT_FIRST = 3  # of words of company: half of them from the first eighth
P_ODD_WORD = 0.12  # of words of company: in other letters, or like none that was seen
# Words drawn from the docstrings at random, around some questions; around a name alone they ask for its summary.  Twice
# as many did as well on held-out phrasings, for longer prompts.
P_RANDOM_WORDS, P_NAME_AMONG_WORDS = 0.22, 0.06
# Of questions, and of their words that any kind of question may hold: these give way to random ones, so that a name is
# found by what it is and not by the frame around it.
P_BLURRED, P_WORD_BLURRED = 0.4, 0.4
P_DISTRACTING = 0.3  # of these random ones: from phrasings of another kind, where they stand by chance
P_MARKED = 0.4  # of names of code, put in backticks
P_COLLOQUIAL = 0.25  # begun in lower case, without a mark at the end
ALTERNATIVES = re.compile(r"\(([^()]*\|[^()]*)\)")
SYNONYM = re.compile(r"<(\w+)>")
PROSE_WORD = r"(?<![\w.`'])[A-Za-z]?[a-z]{1,12}(?![\w.(`'])"
WORD = re.compile(r"(?<![\w{])[A-Za-z']+(?![\w}])")
DELIMITED = re.compile(r"`\{name\}`|\"\{name\}\"")


@dataclass(frozen=True, slots=True)
class Phrasings:
    """The tables of one subject.  `prose`, for company: distinct words without meaning to any kind, frequent first."""

    trained: Mapping[str, Sequence[str]]
    cues: Mapping[str, Sequence[str]]
    statements: Sequence[str]
    openers: Sequence[str]
    closers: Sequence[str]
    prose: Sequence[str]
    everyday: Sequence[str]  # of these, the names that are words too: here they are none
    alone: Mapping[str, Sequence[str]]  # forms of a name that ask a kind of question by standing among random words
    worded: frozenset[str]  # kinds whose names are words: marked by the phrasings, company only where marks end them
    p_marked: float  # share of the other names put in backticks
    telling: Mapping[str, frozenset[str]]  # words of one kind's phrasings alone: they say what is asked
    distractors: Mapping[str, Sequence[str]]  # by kind, words that tell another one by chance: they say nothing
    held_out: "PairsOfWords"

    def ask(self, kind: str, name: str, rng: random.Random) -> str:
        """A question as trained: `Hi, what is json? Thanks!`, `The log showed json at noon; explain it`."""
        if kind in self.alone and rng.random() < P_NAME_AMONG_WORDS:
            name = rng.choice(self.alone[kind]).format(name=name)
            return f"{self.random_words(rng)} {name} {self.random_words(rng)}"
        phrasing = self.compose(kind, rng)
        while self.held_out.are_in(phrasing):
            phrasing = self.compose(kind, rng)
        marked = f"`{name}`" if kind not in self.worded and rng.random() < self.p_marked else name
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

    def compose(self, kind: str, rng: random.Random) -> str:
        """A phrasing with `{name}` once, in one of the forms above."""
        if kind in self.worded:
            return spell_out(rng.choice(self.trained[kind]), rng)
        phrasing = self._cued(kind, rng) if rng.random() < P_CUES else spell_out(rng.choice(self.trained[kind]), rng)
        if rng.random() < P_STATED:
            phrasing = self._stated(phrasing, rng)
        if rng.random() < P_BLURRED:
            phrasing = self._blur(kind, phrasing, rng)
        if rng.random() < P_COLLOQUIAL:
            phrasing = phrasing[0].lower() + phrasing[1:].rstrip(".?!:")
        return phrasing

    def _cued(self, kind: str, rng: random.Random) -> str:
        """`where from {name}, import`: the name, one to three cues, now and then another word, in any order."""
        pieces = ["{name}", *rng.sample(self.cues[kind], rng.choice((1, 1, 2, 3)))]
        pieces += (self.random_word(rng) for _ in range(rng.choice((0, 0, 1, 2))))
        rng.shuffle(pieces)
        return rng.choice((" ", " ", ", ")).join(pieces) + rng.choice(("", "", "?", "."))

    def _stated(self, phrasing: str, rng: random.Random) -> str:
        """A statement of the name, and the question of `it`; or the other way round."""
        statement, pronoun = spell_out(rng.choice(self.statements), rng), rng.choice(wording.PRONOUNS)
        question = phrasing.replace("{name}", pronoun)
        if rng.random() < P_STATED_AFTER:
            return f"{question} {statement}"
        joint = rng.choice(wording.JOINTS)
        return statement[0].upper() + statement[1:] + joint + question

    def _blur(self, kind: str, phrasing: str, rng: random.Random) -> str:
        """Words give way to others, but none that tells the kind; a kind that a name alone does not ask needs one."""
        words = {word.lower() for word in WORD.findall(phrasing)}
        if kind not in self.alone and not self.telling[kind] & words:
            return phrasing
        distractors = self.distractors.get(kind, ()) if wording.ASKING.get(kind, frozenset()) & words else ()

        def other(match: re.Match[str]) -> str:
            if match[0].lower() in self.telling[kind] or rng.random() >= P_WORD_BLURRED:
                return match[0]
            return rng.choice(distractors) if distractors and rng.random() < P_DISTRACTING else self.random_word(rng)

        return WORD.sub(other, phrasing)

    def random_words(self, rng: random.Random) -> str:
        return " ".join(self.random_word(rng) for _ in range(rng.randint(1, 5)))

    def random_word(self, rng: random.Random) -> str:
        if self.everyday and rng.random() < P_EVERYDAY:
            return rng.choice(self.everyday)
        word, other = (self.prose[int(len(self.prose) * rng.random() ** FREQUENT_FIRST)] for _ in range(2))
        return rng.choice(ODD_FORMS)(word, other, rng) if rng.random() < P_ODD_WORD else word


# Of a word and another: what nobody taught looks like.
ODD_FORMS: tuple[Callable[[str, str, random.Random], str], ...] = (
    lambda word, other, rng: word.upper(),
    lambda word, other, rng: word.capitalize(),
    lambda word, other, rng: f"{word}{rng.randint(1, 999)}",
    lambda word, other, rng: str(rng.randint(0, 9999)),
    lambda word, other, rng: word[: len(word) // 2 + 1] + other[len(other) // 2 :],
    lambda word, other, rng: f"{word}-{other}",
    lambda word, other, rng: f"{word}'s",
)


def phrasings(subject: Subject, prose: Sequence[str], everyday: Sequence[str] = ()) -> Phrasings:
    """Those of one subject, from the tables of `wording`."""
    return replace(_without_company(subject), prose=prose, everyday=everyday)


@cache
def _without_company(subject: Subject) -> Phrasings:
    trained, cues = wording.by_kind(wording.TRAINED, subject), wording.by_kind(wording.CUES, subject)
    held_out = [p for tables in wording.HELD_OUT.values() for t in wording.by_kind(tables, subject).values() for p in t]
    telling = telling_words({kind: (*table, *cues.get(kind, ())) for kind, table in trained.items()})
    return Phrasings(
        trained, cues, wording.for_subject(wording.STATEMENTS, subject), wording.for_subject(wording.OPENERS, subject),
        wording.for_subject(wording.CLOSERS, subject), (), (), wording.by_kind(wording.ALONE, subject), wording.WORDED,
        P_MARKED, telling, distracting_words(telling), PairsOfWords.of(held_out),
    )  # fmt: skip


def telling_words(trained: Mapping[str, Sequence[str]]) -> Mapping[str, frozenset[str]]:
    """By kind, the words of its phrasings that no other kind has.

    >>> sorted(telling_words({"module": ["Which module has {name}?"], "summary": ["What has {name}?"]})["module"])
    ['module', 'which']
    """
    spelt = {kind: [SYNONYM.sub(lambda m: wording.SYNONYMS[m[1]], p) for p in table] for kind, table in trained.items()}
    words = {kind: {w.lower() for p in table for w in WORD.findall(p)} for kind, table in spelt.items()}
    return {kind: frozenset(own.difference(*(w for k, w in words.items() if k != kind))) for kind, own in words.items()}


def distracting_words(telling: Mapping[str, frozenset[str]]) -> Mapping[str, Sequence[str]]:
    """By kind, what other kinds' phrasings alone hold and what yet asks nothing, in alphabetical order.

    >>> distracting_words({"module": frozenset({"import", "line"}), "summary": frozenset({"explain"})})
    {'module': (), 'summary': ('line',)}
    """
    asking = frozenset(word for words in wording.ASKING.values() for word in words)
    others = {kind: frozenset().union(*(w for k, w in telling.items() if k != kind)) - asking for kind in telling}
    return {kind: tuple(sorted(words)) for kind, words in others.items()}


def spell_out(frame: str, rng: random.Random) -> str:
    """One of a frame's phrasings: `"(Which|What) <module> has {name}?"` -> `"What file has {name}?"`."""
    frame = SYNONYM.sub(lambda match: rng.choice(wording.SYNONYMS[match[1]].split("|")), frame)
    while ALTERNATIVES.search(frame):  # from the innermost brackets outwards
        frame = ALTERNATIVES.sub(lambda match: rng.choice(match[1].split("|")), frame)
    return frame


@dataclass(frozen=True, slots=True)
class PairsOfWords:
    """Of phrasings, which pairs of words stand side by side in them; `{name}` is a word, case and marks are nothing."""

    of_phrasing: tuple[frozenset[tuple[str, str]], ...]
    holding: Mapping[tuple[str, str], tuple[int, ...]]  # numbers of the phrasings that have the pair

    @staticmethod
    def of(phrasings: Sequence[str]) -> "PairsOfWords":
        found = tuple(pairs_of_words(phrasing) for phrasing in phrasings)
        every = {pair for pairs in found for pair in pairs}
        return PairsOfWords(found, {pair: tuple(n for n, own in enumerate(found) if pair in own) for pair in every})

    def are_in(self, text: str) -> bool:
        """Whether the text shares more than half of one phrasing's pairs."""
        shared = Counter(number for pair in pairs_of_words(text) for number in self.holding.get(pair, ()))
        return any(2 * count > len(self.of_phrasing[number]) for number, count in shared.items())


def pairs_of_words(text: str) -> frozenset[tuple[str, str]]:
    """`pairs_of_words("Why {name}?")` -> `{("why", "{name}")}`."""
    words = re.findall(r"\{name\}|[\w']+", text.lower())
    return frozenset(itertools.pairwise(words))


def by_frequency(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda word: (-counts[word], word))


def fit_prose(words: Iterable[str], unfit: Iterable[str], held_out: Mapping[str, Sequence[str]]) -> list[str]:
    """Words for company, in their order: no cue, none that means something (`unfit`), none of a held-out phrasing."""
    cues = (cue for table in wording.CUES.values() for cue, _ in table)
    kept_out = {*unfit, *(w for table in (cues, *held_out.values()) for p in table for w in re.findall(r"\w+", p))}
    return [word for word in dict.fromkeys(words) if word not in kept_out and word.lower() not in kept_out]


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
