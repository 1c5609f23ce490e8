"""Names that somebody's own text might have and has not: recombined from its own names, and never in it.

One in ten belongs to evaluation, and so do some second halves and some ways of making them up.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from glasshouse.corpus.misspelling import MISSPELLINGS, UNSEEN_MISSPELLINGS
from glasshouse.corpus.own_facts import OwnFact, fold, key_of
from glasshouse.corpus.own_text import OwnText
from glasshouse.corpus.phrasing import bucket, is_made_up_for_evaluation

N_TRIES, N_TRIES_WITHOUT_HOPE = 2000, 50  # for one name; after a way of making them up has failed once

# Ways to make up a name, by kind of fact, with their shares; those only in the second table are never trained.
TRAINED_WAYS: dict[str, dict[str, float]] = {
    "code": {"pair": 0.45, "near_miss": 0.25, "composed": 0.15, "bare": 0.15},
    "section": {"joined": 0.6, "pair": 0.4},
    "passage": {"joined": 1.0},
}
EVALUATED_WAYS: dict[str, dict[str, float]] = {
    "code": {"pair": 0.35, "pair_unseen": 0.15, "near_miss": 0.15, "near_miss_unseen": 0.1, "composed": 0.1,
             "bare": 0.1, "swapped": 0.05},
    "section": {"joined": 0.4, "joined_unseen": 0.15, "pair": 0.25, "pair_unseen": 0.1, "turned": 0.1},
    "passage": {"joined": 0.6, "joined_unseen": 0.2, "word_changed": 0.2},
}  # fmt: skip


def is_unrefused(half: str) -> bool:
    """Whether training shows this second half of a name only where it is real: 1 in 10."""
    return bucket("unrefused half", fold(half), 10) == 0


@dataclass(frozen=True, slots=True)
class _Proposal:
    name: str
    half: str  # what `is_unrefused` decides on


class MadeUpNames:
    """Plausible names that are not in the text, drawn from one side of the split: for training or for evaluation.

    pair       one document's name with another's function or title: `shard.find_cut`, `pep-0008: Security`
    near_miss  a real name misspelt: `passage.find_cuts`
    composed   a real module with words of real names: `passage.read_mask`
    bare       the latter two without a module: `find_cuts`, `read_mask`
    joined     the beginning of one title or sentence with the end of another
    swapped, turned, word_changed   back to front, or one word from elsewhere; these and `..._unseen` are never trained
    """

    def __init__(self, own: OwnText, rng: random.Random, *, is_for_evaluation: bool) -> None:
        self.own, self.rng, self.is_for_evaluation = own, rng, is_for_evaluation
        self._facts = {kind: own.of(kind) for kind in TRAINED_WAYS}
        self._failed: set[tuple[str, str]] = set()
        words = {word for fact in self._facts["code"] for word in fact.bare.split("_") if len(word) > 2}
        self._words = sorted(words) or ["name"]
        self._makers: dict[str, Callable[[str, OwnFact], _Proposal]] = {
            "pair": self._pair, "pair_unseen": self._pair, "swapped": self._swapped,
            "near_miss": lambda kind, fact: self._near_miss(fact, is_unseen=False),
            "near_miss_unseen": lambda kind, fact: self._near_miss(fact, is_unseen=True),
            "composed": lambda kind, fact: self._qualified(fact, self._compose()),
            "bare": lambda kind, fact: self._bare(fact),
            "joined": self._joined, "joined_unseen": self._joined,
            "turned": lambda kind, fact: self._turned(fact),
            "word_changed": lambda kind, fact: self._word_changed(fact),
        }  # fmt: skip

    def draw(self, kind: str, way: str) -> str | None:
        """A name for a kind of fact; None where this text cannot give one that is made this way."""
        facts = self._facts[kind]
        n_tries = N_TRIES_WITHOUT_HOPE if (kind, way) in self._failed else N_TRIES
        for _ in range(n_tries if facts else 0):
            proposal = self._makers[way](kind, self.rng.choice(facts))
            is_unseen = is_unrefused(proposal.half)
            is_right = is_unseen if way in ("pair_unseen", "joined_unseen") else self.is_for_evaluation or not is_unseen
            is_on_this_side = is_made_up_for_evaluation(proposal.name) == self.is_for_evaluation
            if is_right and is_on_this_side and not self.exists(kind, proposal.name):
                return proposal.name
        self._failed.add((kind, way))
        return None

    def draw_any(self, kind: str, ways: Mapping[str, float]) -> tuple[str, str] | None:
        """(way, name): by shares, and another way where the first gives nothing, so that the mix is kept."""
        first = self.rng.choices(list(ways), weights=list(ways.values()))[0]
        for way in (first, *(way for way in ways if way != first)):
            if (name := self.draw(kind, way)) is not None:
                return way, name
        return None

    def exists(self, kind: str, name: str) -> bool:
        """Whether the text has it, held-out documents included; cautious where it cannot be told exactly."""
        found = self.own.found
        if kind == "passage":
            return key_of(name) in found.said
        if kind == "section":
            return fold(name) in found.titles
        home, _, bare = name.rpartition(".")
        if not all(part.isidentifier() for part in name.split(".")):
            return True  # not a name at all
        return bare in (found.identifiers.get(home, frozenset()) if home else self.own.identifiers)

    def _other(self, kind: str) -> OwnFact:
        return self.rng.choice(self._facts[kind])

    def _pair(self, kind: str, fact: OwnFact) -> _Proposal:
        mark = "." if kind == "code" else ": "
        return _Proposal(f"{self._other(kind).home}{mark}{fact.bare}", fact.bare)

    def _qualified(self, fact: OwnFact, bare: str) -> _Proposal:
        return _Proposal(bare if fact.name == fact.bare else f"{fact.home}.{bare}", bare)

    def _near_miss(self, fact: OwnFact, *, is_unseen: bool) -> _Proposal:
        ways = UNSEEN_MISSPELLINGS if is_unseen else MISSPELLINGS
        return self._qualified(fact, ways[self.rng.choice(list(ways))](fact.bare, self.rng))

    def _bare(self, fact: OwnFact) -> _Proposal:
        is_near = self.rng.random() < 0.5
        bare = MISSPELLINGS[self.rng.choice(list(MISSPELLINGS))](fact.bare, self.rng) if is_near else self._compose()
        return _Proposal(bare, bare)

    def _compose(self) -> str:
        first, second = self.rng.choice(self._words), self.rng.choice(self._words)
        return self.rng.choice((f"{first}_{second}", f"{first}{second}", first, f"{first.title()}{second.title()}"))

    def _swapped(self, kind: str, fact: OwnFact) -> _Proposal:
        return _Proposal(f"{fact.bare}.{fact.home}", fact.home)

    def _joined(self, kind: str, fact: OwnFact) -> _Proposal:
        head, tail = fact.bare.split(" "), self._other(kind).bare.split(" ")
        kept = head[: self.rng.randint(1, max(1, len(head) - 1))]
        added = tail[self.rng.randint(min(1, len(tail) - 1), len(tail) - 1) :]
        is_stutter = kept[-1] == added[0]
        return _Proposal(fact.bare if is_stutter else " ".join([*kept, *added]), " ".join(added))

    def _turned(self, fact: OwnFact) -> _Proposal:
        words = fact.bare.split(" ")
        cut = len(words) // 2
        return _Proposal(" ".join(words[cut:] + words[:cut]), " ".join(words[:cut]))

    def _word_changed(self, fact: OwnFact) -> _Proposal:
        words, others = fact.bare.split(" "), self._other(fact.kind).bare.split(" ")
        at = self.rng.randrange(1, max(2, len(words) - 1))
        words[min(at, len(words) - 1)] = others[len(others) // 2]
        return _Proposal(" ".join(words), fact.bare)
