"""Questions and answers about the standard library: what to teach, and how to find out honestly.

Three things are kept from training, each decided by a hash of the text and so the same on every run and disjoint by
construction:

- phrasings:  the held-out tables of `wording` are used by `evaluation_questions` alone;
- names:      3 % of the real names are never asked about in training (`is_held_out`);
- made-up names:  `library_names`.
"""

import random
import re

from glasshouse.core.config import Config
from glasshouse.core.records import Conversation, Message, Question
from glasshouse.corpus.library import Library, last_part
from glasshouse.corpus.library_names import EVALUATED_MADE_UP, TRAINED_MADE_UP, MadeUpNames
from glasshouse.corpus.phrasing import phrasings, repeat
from glasshouse.corpus.wording import HELD_OUT as ALL_HELD_OUT
from glasshouse.corpus.wording import by_kind, greetings

HELD_OUT = {name: by_kind(tables, "library") for name, tables in ALL_HELD_OUT.items()}
GREETINGS = greetings(
    "Hello! Ask me about the Python standard library.",
    "I am a small language model grown with Glasshouse on the Python standard library.",
    "I can say what a name in the Python standard library does, where it lives and how to call it.",
)

REFUSAL_START = "I do not know of"


def refusal(name: str, elsewhere: str | None = None) -> str:
    """`refusal("os.frob")` -> ```frob`: I do not know of it in the standard library.``

    Where the last part of the name is known from elsewhere, that is said first: ```rmtree` is in shutil. I do not know
    of `json.rmtree` ...``.  Recalling where a name lives and comparing it with what was asked are two easy steps.
    """
    if elsewhere is None:
        return f"`{last_part(name)}`: {REFUSAL_START} it in the standard library."
    return f"{elsewhere} {REFUSAL_START} `{name}` in the standard library."


def is_refusal(answer: str) -> bool:
    """Whether an answer says that the name is unknown, whichever name it repeats and wherever it knows it from."""
    return re.match(rf"\s*(`[^`]*`(:| is (in|a module|a module in)( [\w.]+)?\.) )?{REFUSAL_START}", answer) is not None


def refuse(library: Library, name: str) -> str:
    """The honest answer about a name that does not exist, or that was never taught."""
    return refusal(name, library.where.get(last_part(name)))


# How often a made-up name is asked of in each kind's words, over how often a real one is.  Of a name alone a model sees
# more easily that nothing has it (all were refused, and many real ones) than that no such module has it (one in five
# was believed).
MADE_UP_WEIGHTS = {"module": 0.5, "signature": 1.5, "unrecited": 1.5}


class QuestionConfig(Config):
    """What one epoch of questions holds."""

    summary: float = 1.0  # questions a name: what it does
    signature: float = 0.5  # questions a name with a short signature
    unrecited: float = 0.2  # questions for the signature of a name without a short one: it says so
    module: float = 0.3  # questions a name that only one module has
    p_made_up: float = 0.4  # share of made-up names; fewer and the model believes anything, more and it doubts the true
    greetings: float = 0.5  # copies of each pair in GREETINGS


def training_conversations(
    library: Library, seed: int, epoch: int = 0, config: QuestionConfig | None = None
) -> list[Conversation]:
    """One epoch, shuffled: questions on every taught name in trained phrasings, and fresh made-up names refused."""
    config = config or QuestionConfig()
    rng = random.Random(f"training {seed} {epoch}")
    made_up = MadeUpNames(library, rng, is_for_evaluation=False)
    pairs: list[tuple[str, str, str, str]] = []  # kind, name, prompt, answer
    n_known = {kind: round(getattr(config, kind) * len(facts)) for kind, facts in library.asked.items()}
    for kind, facts in library.asked.items():
        for fact in repeat(facts, n_known[kind], rng):
            shown = fact.bare if kind == "module" else fact.name
            pairs.append((kind, fact.name, trained_prompt(kind, shown, library, rng), fact.answer(kind)))
    n_made_up = round(sum(n_known.values()) * config.p_made_up / (1 - config.p_made_up))
    weights = [MADE_UP_WEIGHTS.get(kind, 1.0) * n for kind, n in n_known.items()]
    kinds = [phrased(kind) for kind in rng.choices(list(n_known), weights=weights, k=n_made_up)]
    ways = rng.choices(list(TRAINED_MADE_UP), weights=list(TRAINED_MADE_UP.values()), k=n_made_up)
    for kind, way in zip(kinds, ways, strict=True):
        name = made_up.draw_bare() if kind == "module" else made_up.draw(way)
        pairs.append((f"made_up_{kind}", name, trained_prompt(kind, name, library, rng), refuse(library, name)))
    for prompt, answer in repeat(GREETINGS, round(config.greetings * len(GREETINGS)), rng):
        pairs.append(("greeting", "", prompt, answer))
    rng.shuffle(pairs)
    return [
        Conversation(
            (Message("user", prompt), Message("assistant", answer)),
            id=f"stdlib/{seed}/{epoch}/{number}",
            meta={"kind": kind, "name": name},
        )
        for number, (kind, name, prompt, answer) in enumerate(pairs)
    ]


def trained_prompt(kind: str, name: str, library: Library, rng: random.Random) -> str:
    """A question as trained: `Hi, what is json? Thanks!`, `The log showed json at noon; explain it`."""
    return phrasings("library", library.prose, library.everyday).ask(phrased(kind), name, rng)


def phrased(kind: str) -> str:
    """The kind in whose phrasings one asks: nobody knows beforehand which signature will not be recited."""
    return "signature" if kind == "unrecited" else kind


def evaluation_questions(
    library: Library, seed: int, limit: int | None = None, held_out: str = "unseen"
) -> list[Question]:
    """Questions in phrasings of one held-out set alone (`unseen`, `development`): on taught, made-up, held-out names.

    Kinds: `summary`, `signature`, `module` (the exact answer is right; every name, or `limit` of each kind);
    `unrecited` (to say that one does not know it by heart is right; likewise);
    `made_up` (a refusal is right; `limit` in all, or 1,000; how each was made: `made_up_way`);
    `held_out_name` (real but never taught: a refusal is the honest answer; all of them).
    """
    rng, phrasings_of = random.Random(f"evaluation {seed}"), HELD_OUT[held_out]
    made_up = MadeUpNames(library, rng, is_for_evaluation=True)
    questions: list[Question] = []

    def ask(group: str, id_: str, kind: str, name: str, shown: str, answer: str) -> None:
        phrasing = rng.randrange(len(phrasings_of[kind]))
        prompt = phrasings_of[kind][phrasing].format(name=shown)
        questions.append(Question(id_, prompt, (answer,), group, f"{kind}/{phrasing}", name))

    for kind, facts in library.asked.items():
        for fact in rng.sample(facts, len(facts) if limit is None else min(limit, len(facts))):
            shown = fact.bare if kind == "module" else fact.name
            ask(kind, f"{kind}/{fact.name}", phrased(kind), fact.name, shown, fact.answer(kind))
    n_made_up, drawn = limit or 1000, set[str]()
    for way, share in EVALUATED_MADE_UP.items():
        for _ in range(round(share * n_made_up)):
            is_about_module = way == "near_miss" and rng.random() < 0.3
            kind = "module" if is_about_module else rng.choices(("summary", "signature"), weights=(4, 1))[0]
            name = made_up.draw_bare() if is_about_module else made_up.draw(way)
            if name not in drawn:
                drawn.add(name)
                ask("made_up", f"made_up/{way}/{name}", kind, name, name, refuse(library, name))
    for fact in library.held_out:
        right = refuse(library, fact.name)
        ask("held_out_name", f"held_out_name/{fact.name}", "summary", fact.name, fact.name, right)
    return questions


def made_up_way(question: Question) -> str | None:
    """How the name asked for was made up, a key of `EVALUATED_MADE_UP`; None for a real name."""
    kind, _, rest = question.id.partition("/")
    return rest.partition("/")[0] if kind == "made_up" else None
