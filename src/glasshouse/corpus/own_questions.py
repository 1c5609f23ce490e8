"""Questions and answers about somebody's own text: taught and judged with the honesty that the standard library has.

Kept from training, by hash, so that no example crosses: the held-out phrasings of `wording`, the held-out names of
`own_text`, and the made-up names of `own_names` that belong to evaluation.

What a name does, or a section says, is answered with the name first, a refusal too: it is found in the question once,
then read from where it was just written.  A sentence is too long to repeat, and so is one that is not in the text: `I
do not know of that sentence in this text.`
"""

import random
from collections.abc import Iterator

from glasshouse.core.records import Conversation, Message, Question
from glasshouse.corpus.own_facts import OwnFact
from glasshouse.corpus.own_names import EVALUATED_WAYS, TRAINED_WAYS, MadeUpNames
from glasshouse.corpus.own_text import OwnText
from glasshouse.corpus.phrasing import repeat
from glasshouse.corpus.questions import REFUSAL_START, QuestionConfig
from glasshouse.corpus.wording import HELD_OUT as ALL_HELD_OUT
from glasshouse.corpus.wording import by_kind, greetings

MIN_KNOWN = 600  # questions on known names an epoch holds at least: few facts are asked in many phrasings
HELD_OUT = {name: by_kind(tables, "text") for name, tables in ALL_HELD_OUT.items()}
GREETINGS = greetings(
    "Hello! Ask me about your text.",
    "I am a small language model grown with Glasshouse on your text.",
    "I can answer short questions about your text, and I say so when something is not in it.",
)
KIND_OF_FACT = {"summary": "code", "signature": "code", "file": "code", "section": "section", "passage": "passage"}
NAME_FIRST = ("summary", "section")  # kinds of question


def refusal(kind: str, name: str) -> str:
    """`refusal("file", "find_cut")` -> ``I do not know of `find_cut` in this text.``

    Where an answer says what something is, the name comes first: ```The Moon`: I do not know of it in this text.``
    """
    if kind in NAME_FIRST:
        return f"`{name}`: {REFUSAL_START} it in this text."
    return f"{REFUSAL_START} {'that sentence' if kind == 'passage' else f'`{name}`'} in this text."


def answer(kind: str, fact: OwnFact) -> str:
    """The one right answer to a question of a kind."""
    match kind:
        case "signature":
            return f"{fact.bare}{fact.signature}"
        case "file":
            return f"It is in {fact.file}."
    return f"`{fact.name}`: {fact.answer}" if kind in NAME_FIRST else fact.answer


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


def evaluation_questions(own: OwnText, seed: int, limit: int | None = None, held_out: str = "unseen") -> list[Question]:
    """Questions in phrasings of one held-out set alone (`unseen`, `development`): on taught, made-up, held-out names.

    Kinds: those of `TRAINED` (the exact answer is right; every fact, or `limit` of each kind); `made_up` (a refusal is
    right; `limit` in all, or as many as facts up to 1,000); `held_out_name` (real but never taught; all of them).
    """
    rng, phrasings_of = random.Random(f"own text, evaluation {seed}"), HELD_OUT[held_out]
    questions: list[Question] = []

    def ask(group: str, id_: str, kind: str, name: str, shown: str, right: str) -> None:
        phrasing = rng.randrange(len(phrasings_of[kind]))
        prompt = phrasings_of[kind][phrasing].format(name=shown)
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
