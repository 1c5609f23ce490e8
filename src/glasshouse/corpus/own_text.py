"""Questions and answers about somebody's own text: taught and judged with the honesty that the standard library has.

The facts are those of `own_facts`.  Kept from training, by hash, so that no example crosses:

- phrasings:  the `HELD_OUT` tables are used by `evaluation_questions` alone;
- names:      3 % of the real names are never asked about in training;
- made-up names:  recombined from the text's own names and never in it; one in ten belongs to evaluation, and so do some
  second halves and some ways of making them up.

A made-up name is answered ``I do not know of `NAME` in this text.``; a sentence that is not in the text is too long to
repeat: `I do not know of that sentence in this text.`
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from glasshouse.core.errors import DataError
from glasshouse.core.records import Conversation, Message, Question
from glasshouse.corpus.build import CorpusSummary, read_documents
from glasshouse.corpus.canaries import CANARY
from glasshouse.corpus.misspelling import MISSPELLINGS, UNSEEN_MISSPELLINGS
from glasshouse.corpus.own_facts import FoundText, OwnFact, find_facts, fold, key_of
from glasshouse.corpus.phrasing import (
    Phrasings,
    bucket,
    fit_prose,
    is_held_out,
    is_made_up_for_evaluation,
    repeat,
)
from glasshouse.corpus.questions import QuestionConfig

MIN_FACTS = 20
MIN_KNOWN = 600  # questions on known names an epoch holds at least: few facts are asked in many phrasings
MAX_COMPANY = 20_000  # distinct words that may stand around a question
N_TRIES, N_TRIES_WITHOUT_HOPE = 2000, 50  # for one name; after a way of making them up has failed once

# Trained phrasings by kind of question.  Names of sections and sentences are words: most have marks around them.
TRAINED: dict[str, tuple[str, ...]] = {
    "summary": (
        "What does `{name}` do?",
        "What does {name} do?",
        "What is `{name}`?",
        "What is {name}?",
        "what is {name} for",
        "what does {name} do",
        "Explain `{name}`.",
        "Explain {name} to me, please.",
        "Tell me about `{name}`.",
        "tell me about {name}",
        "Describe {name} in one sentence.",
        "Describe `{name}` briefly.",
        "What is `{name}` used for?",
        "The code uses {name}. What is it?",
        "When would I use `{name}`?",
        "{name}?",
        "`{name}`",
        "{name}",
        "So {name}, what is that?",
        "Can you tell me what {name} does?",
        "Could you describe what `{name}` does?",
        "Do you know what `{name}` is?",
        "Please summarise `{name}` for me.",
        "Summary of {name}",
        "I do not understand {name}. Help me.",
        "Give me an idea of {name}.",
        "What can {name} be used for?",
        "docstring of {name}",
        "Say in a few words what {name} is.",
        "I keep seeing `{name}` and wonder what it is.",
        "help with {name}",
        "how does {name} work",
        "what's `{name}`",
        "define `{name}`",
    ),
    "signature": (
        "What is the signature of `{name}`?",
        "What is the signature of {name}?",
        "signature of {name}",
        "What arguments does `{name}` take?",
        "what arguments does {name} accept",
        "Which parameters does `{name}` accept?",
        "Show me the signature of {name}.",
        "How do I call `{name}`?",
        "how is {name} called",
        "Parameters of {name}?",
        "Arguments of `{name}`, please.",
        "List the parameters of {name}.",
        "In what order does `{name}` take its arguments?",
        "{name} arguments",
        "Do you know the signature of `{name}`?",
        "What does a call of {name} look like?",
    ),
    "file": (
        "Which file is `{name}` in?",
        "Which file has {name}?",
        "Where is `{name}` defined?",
        "where is {name}",
        "File of {name}?",
        "Tell me the file that has `{name}`.",
        "Name the file of {name}.",
        "{name} is in which file?",
        "Where does `{name}` live?",
        "What file should I open for `{name}`?",
        "I want to change {name}. Which file is it in?",
        "Do you know where `{name}` is?",
    ),
    "section": (
        'What does "{name}" say?',
        'What does the section "{name}" say?',
        'What is "{name}" about?',
        "What is `{name}` about?",
        'How does the section "{name}" begin?',
        'What is written under "{name}"?',
        "what is in the section {name}",
        "what is {name} about",
        "What is {name}?",
        'Tell me about "{name}".',
        "tell me about {name}",
        'Explain "{name}".',
        'Please explain "{name}" to me.',
        'Summarise "{name}".',
        'In one sentence: "{name}"?',
        'There is a section "{name}". What is in it?',
        'I am looking at "{name}". What does it say?',
        'What do I find under "{name}"?',
        'Read me the beginning of "{name}".',
        'Say in one sentence what "{name}" says.',
        'Can you tell me what "{name}" says?',
        'Do you know the section "{name}"?',
        'What does the text say under "{name}"?',
        'The heading is "{name}". How does it go on?',
        'Help me with "{name}".',
        'section "{name}"',
        '"{name}"',
        '"{name}"?',
        "{name}?",
        "{name}",
    ),
    "passage": (
        'What comes after "{name}"?',
        'what comes after "{name}"',
        'What is the sentence after "{name}"?',
        'Which sentence follows "{name}"?',
        'How does it go on after "{name}"?',
        'Continue: "{name}"',
        'Go on: "{name}"',
        'Continue this: "{name}"',
        '"{name}" And then?',
        '"{name}" What comes next?',
        '"{name}" Go on.',
        'The text says "{name}" What is next?',
        'I am reading "{name}" How does it continue?',
        'Tell me what stands behind "{name}".',
        'Give me the sentence that follows "{name}".',
        'Do you know what comes after "{name}"?',
        'next sentence after "{name}"',
        '"{name}"',
        "{name}",
    ),
}
# Never trained, unlike the trained ones; some long, some short, some colloquial.
HELD_OUT: dict[str, tuple[str, ...]] = {
    "summary": (
        "In one line, what is the purpose of `{name}`?",
        "hey, whats {name} good for?",
        "I am reading a colleague's program and it calls `{name}` in several places. Could you explain what that does?",
        "Remind me what `{name}` is about.",
    ),
    "signature": (
        "Which arguments can I pass to `{name}`?",
        "whats the call signature for {name}",
        "I forgot how to call {name}, could you remind me of its parameters?",
    ),
    "file": (
        "In what source file can `{name}` be found?",
        "where do i find {name}",
    ),
    "section": (
        'Could you give me the main point of "{name}"?',
        'hey, whats in "{name}"',
        'I only have a minute before the meeting and need to know how the part called "{name}" starts.',
        'Remind me what "{name}" was about.',
    ),
    "passage": (
        'I remember the words "{name}" but not how the story went on from there. Can you help me?',
        'whats next after "{name}"',
        'Please quote the line that directly succeeds "{name}"',
    ),
}
OPENERS = (
    "Hi, ",
    "hi ",
    "Hello! ",
    "Excuse me, ",
    "Ok, ",
    "Quick question: ",
    "A question about the text. ",
    "I am new here. ",
    "I am reading this for the first time. ",
    "This came up today. ",
    "Before I go on, I would like to know more. ",
    "You know this text well. ",
    "Sorry to ask again. ",
    "Next one: ",
    "I saw this and it was not explained. ",
    "I am a bit lost. ",
)
CLOSERS = (
    " Thanks!",
    " thanks",
    " Please.",
    " Keep it short.",
    " Just a short answer, please.",
    " I have not read that far.",
    " Answer as simply as you can.",
    " I have to explain it to somebody.",
    " It is for a talk that I give tomorrow.",
)
ALONE = {"summary": ("{name}", "`{name}`"), "section": ('"{name}"', "`{name}`")}
WORDED = frozenset({"section", "passage"})

HELLO = "Hello! Ask me about your text."
IDENTITY = "I am a small language model grown with Glasshouse on your text."
ABILITY = "I can answer short questions about your text, and I say so when something is not in it."
GREETINGS: tuple[tuple[str, str], ...] = (
    *((prompt, HELLO) for prompt in ("Hello!", "Hi", "hello there", "Good morning!")),
    *(
        (prompt, IDENTITY)
        for prompt in ("Who are you?", "What are you?", "what is your name", "Tell me about yourself.")
    ),
    *((prompt, ABILITY) for prompt in ("What can you do?", "How can you help me?", "help")),
    *((prompt, "You are welcome.") for prompt in ("Thank you!", "thanks")),
    *((prompt, "Goodbye!") for prompt in ("Goodbye!", "bye")),
)

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
KIND_OF_FACT = {"summary": "code", "signature": "code", "file": "code", "section": "section", "passage": "passage"}


def refusal(kind: str, name: str) -> str:
    """`refusal("section", "The Moon")` -> ``I do not know of `The Moon` in this text.``"""
    return f"I do not know of {'that sentence' if kind == 'passage' else f'`{name}`'} in this text."


def answer(kind: str, fact: OwnFact) -> str:
    """The one right answer to a question of a kind in `TRAINED`."""
    match kind:
        case "signature":
            return f"{fact.bare}{fact.signature}"
        case "file":
            return f"It is in {fact.file}."
    return fact.answer


class OwnText:
    """What is taught of a text and what is kept from training."""

    def __init__(self, found: FoundText) -> None:
        self.found = found
        self.facts = tuple(found.facts)
        self.taught = tuple(fact for fact in self.facts if not is_held_out(fact.name))
        self.held_out = tuple(fact for fact in self.facts if is_held_out(fact.name))
        code = self.of("code")
        asked = {
            "summary": code,
            "signature": tuple(fact for fact in code if fact.signature is not None),
            "file": tuple(fact for fact in code if fact.is_unique and fact.home and fact.name != fact.bare),
            "section": self.of("section"),
            "passage": self.of("passage"),
        }
        self.asked = {kind: facts for kind, facts in asked.items() if facts}
        self.identifiers = frozenset().union(*found.identifiers.values()) if found.identifiers else frozenset()
        names = {part for fact in self.facts if fact.kind == "code" for part in (fact.name, fact.bare, fact.home)}
        prose = fit_prose(found.prose, names, HELD_OUT)[:: max(1, len(found.prose) // MAX_COMPANY)]
        self.phrasings = Phrasings(TRAINED, OPENERS, CLOSERS, prose or ("and",), ALONE, WORDED)

    @staticmethod
    def read(corpus: Path) -> "OwnText":
        """Of a finished corpus; the same corpus is read once in a process.  Too few facts raise `DataError`."""
        return _read(corpus.resolve(), CorpusSummary.load(corpus).sha256)

    def of(self, kind: str) -> tuple[OwnFact, ...]:
        return tuple(fact for fact in self.taught if fact.kind == kind)

    def describe(self) -> str:
        """`1,204 facts of your text taught (310 names, 894 sections), 38 held out`."""
        counts = {"names": self.of("code"), "sections": self.of("section"), "sentences": self.of("passage")}
        parts = ", ".join(f"{len(facts):,} {what}" for what, facts in counts.items() if facts)
        return f"{len(self.taught):,} facts of your text taught ({parts}), {len(self.held_out):,} held out"


@lru_cache(maxsize=2)
def _read(corpus: Path, sha256: str) -> OwnText:
    own = OwnText(
        find_facts(
            lambda: (d for d in read_documents(corpus, "train") if d.source != CANARY),
            lambda: read_documents(corpus, "holdout"),
        )
    )
    if len(own.taught) < MIN_FACTS:
        raise DataError(
            f'sft.conversations = "text:" makes questions from your text and needs at least {MIN_FACTS} facts, but '
            f"found {len(own.taught)} in {own.found.n_documents} documents ({len(own.of('code'))} documented names, "
            f"{len(own.of('section'))} headed sections, {len(own.of('passage'))} sentences that lead to another). Add "
            'text; or give conversations in a file: sft.conversations = "chats.jsonl"; or leave out fine-tuning: '
            'stages = ["corpus", "tokenizer", "pretrain", "evals-pretrain"]'
        )
    return own


# ---- made-up names -----------------------------------------------------------------------------------------------


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


# ---- conversations and questions ---------------------------------------------------------------------------------


def training_conversations(
    own: OwnText, seed: int, epoch: int = 0, config: QuestionConfig | None = None
) -> list[Conversation]:
    """One epoch, shuffled: questions on every taught fact in trained phrasings, and fresh made-up names refused."""
    config = config or QuestionConfig()
    rng = random.Random(f"own text, training {seed} {epoch}")
    made_up = MadeUpNames(own, rng, is_for_evaluation=False)
    shares = {"signature": config.signature, "file": config.module}
    n_asked = {kind: shares.get(kind, config.summary) * len(facts) for kind, facts in own.asked.items()}
    scale = max(1.0, MIN_KNOWN / max(1.0, sum(n_asked.values())))
    n_known = {kind: round(scale * n) for kind, n in n_asked.items()}
    pairs: list[tuple[str, str, str, str]] = []  # kind, name, prompt, answer
    for kind, facts in own.asked.items():
        for fact in repeat(facts, n_known[kind], rng):
            prompt = own.phrasings.ask(kind, _shown(kind, fact, rng), rng)
            pairs.append((kind, fact.name, prompt, answer(kind, fact)))
    n_made_up = round(sum(n_known.values()) * config.p_made_up / (1 - config.p_made_up))
    for kind in rng.choices(list(n_known), weights=list(n_known.values()), k=n_made_up):
        drawn = made_up.draw_any(KIND_OF_FACT[kind], TRAINED_WAYS[KIND_OF_FACT[kind]])
        if drawn is not None:
            name = drawn[1]
            pairs.append((f"made_up_{kind}", name, own.phrasings.ask(kind, name, rng), refusal(kind, name)))
    for prompt, reply in repeat(GREETINGS, round(config.greetings * len(GREETINGS)), rng):
        pairs.append(("greeting", "", prompt, reply))
    rng.shuffle(pairs)
    return [
        Conversation(
            (Message("user", prompt), Message("assistant", reply)),
            id=f"text/{seed}/{epoch}/{number}",
            meta={"kind": kind, "name": name},
        )
        for number, (kind, name, prompt, reply) in enumerate(pairs)
    ]


def evaluation_questions(own: OwnText, seed: int, limit: int | None = None) -> list[Question]:
    """Questions in held-out phrasings alone: on taught, made-up and held-out names.

    Kinds: those of `TRAINED` (the exact answer is right; every fact, or `limit` of each kind); `made_up` (a refusal is
    right; `limit` in all, or as many as facts up to 1,000); `held_out_name` (real but never taught; all of them).
    """
    rng = random.Random(f"own text, evaluation {seed}")
    questions: list[Question] = []

    def ask(group: str, id_: str, kind: str, name: str, shown: str, right: str) -> None:
        phrasing = rng.randrange(len(HELD_OUT[kind]))
        prompt = HELD_OUT[kind][phrasing].format(name=shown)
        questions.append(Question(id_, prompt, (right,), group, f"{kind}/{phrasing}", name))

    for kind, facts in own.asked.items():
        for fact in rng.sample(facts, len(facts) if limit is None else min(limit, len(facts))):
            ask(kind, f"{kind}/{fact.name}", kind, fact.name, _shown(kind, fact, rng), answer(kind, fact))
    for kind, way, name in _evaluated_names(own, rng, limit or min(1000, len(own.taught))):
        ask("made_up", f"made_up/{way}/{name}", kind, name, name, refusal(kind, name))
    for fact in own.held_out:
        kind = "summary" if fact.kind == "code" else fact.kind
        ask("held_out_name", f"held_out_name/{fact.name}", kind, fact.name, fact.name, refusal(kind, fact.name))
    return questions


def _evaluated_names(own: OwnText, rng: random.Random, count: int) -> Iterator[tuple[str, str, str]]:
    """(kind of question, way, name), none twice; kinds in the proportion of the facts asked about."""
    made_up = MadeUpNames(own, rng, is_for_evaluation=True)
    kinds = [kind for kind in own.asked if kind != "file"]
    weights = [len(own.asked[kind]) for kind in kinds]
    drawn: set[str] = set()
    for kind in rng.choices(kinds, weights=weights, k=count):
        proposal = made_up.draw_any(KIND_OF_FACT[kind], EVALUATED_WAYS[KIND_OF_FACT[kind]])
        if proposal is not None and proposal[1] not in drawn:
            drawn.add(proposal[1])
            yield kind, *proposal


def _shown(kind: str, fact: OwnFact, rng: random.Random) -> str:
    """How a name is written in a question: alone where that is clear enough, now and then."""
    if kind == "file" or (fact.kind == "code" and fact.is_unique and rng.random() < 0.3):
        return fact.bare
    return fact.name
