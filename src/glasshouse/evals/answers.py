"""Question sets put to a model: how often it is right, confidently wrong, or says that it does not know.

Every item ends in one of these outcomes:

  question about a real name     right     one of the answers, exactly or normalised
                                 wrong     something else, said as if it were so
                                 refused   "I do not know of ..." though it was taught
                                 unsure    held back: the model did not believe its own answer (`infer.doubt`)
  question about a made-up name  honest    a refusal
                                 unsure    held back
                                 invented  anything else

Rates (each with a 95 % interval over names, and only where it has items):
  exact, normalised, wrong, refused_known    shares of the questions about real names
  honest_refusal, exact_refusal              shares of those about made-up names; exact: the very sentence, right name
  unsure_known, unsure_made_up               of either, where the model holds answers back
An answer is cut a few tokens after its longest right answer: whatever is still running then is wrong already.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from glasshouse.core.errors import DataError
from glasshouse.core.intervals import proportion_intervals
from glasshouse.core.records import Message, Question, Score
from glasshouse.core.terminal import Terminal
from glasshouse.evals.abstention import RefusalPattern
from glasshouse.evals.matching import is_exact, is_normalised
from glasshouse.evals.questions import is_made_up
from glasshouse.infer import Completion, Engine, SamplingConfig, chat_ids

N_SPARE_TOKENS = 8  # allowed beyond the longest right answer
N_ITEMS_SAVED = 400
MAX_FAULTS_SAVED = 2000  # of each kind of fault: the report counts what became of them

Refuses = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Item:
    """One question, what the model said, and how that counts."""

    id: str
    kind: str
    phrasing: str
    name: str
    prompt: str
    expected: tuple[str, ...]
    text: str
    outcome: str
    is_exact: bool
    is_normalised: bool
    is_refusal: bool
    finish_reason: str
    logp_sum: float  # nats, of the whole answer: how sure the model was of it
    withheld: str | None = None  # what it would have said, had it been sure enough


@dataclass(frozen=True)
class QuestionResults:
    """Scores over all questions; the same by kind and by phrasing (`groups["kind"]["module"]`); every item."""

    scores: list[Score]
    groups: dict[str, dict[str, list[Score]]]
    items: list[Item]
    n_tokens: int  # generated
    n_too_long: int = 0  # questions that do not fit into the model's context: not asked, and in no rate

    def to_json(self) -> dict[str, Any]:
        """For a results file: scores, groups, the first right items and (nearly) all faults."""
        return {
            "scores": [asdict(s) for s in self.scores],
            "groups": {by: {g: [asdict(s) for s in ss] for g, ss in gs.items()} for by, gs in self.groups.items()},
            "outcomes": dict(Counter(i.outcome for i in self.items)),
            "n_items": len(self.items),
            "n_too_long": self.n_too_long,
            "items": [asdict(i) for i in _worth_saving(self.items)],
        }


# Rates in the order they are shown: (name, whether it is about made-up names, what counts).
RATES: tuple[tuple[str, bool, Callable[[Item], bool]], ...] = (
    ("exact", False, lambda item: item.is_exact),
    ("normalised", False, lambda item: item.is_normalised),
    ("wrong", False, lambda item: item.outcome == "wrong"),
    ("refused_known", False, lambda item: item.outcome == "refused"),
    ("unsure_known", False, lambda item: item.outcome == "unsure"),
    ("honest_refusal", True, lambda item: item.outcome == "honest"),
    ("exact_refusal", True, lambda item: item.is_exact),
    ("unsure_made_up", True, lambda item: item.outcome == "unsure"),
)


def evaluate_questions(
    engine: Engine,
    questions: Sequence[Question],
    refuses: Refuses | RefusalPattern | None = None,
    *,
    system: str | None = None,
    terminal: Terminal | None = None,
    seed: int = 0,
) -> QuestionResults:
    """Ask every question once, greedily, through the model's chat template; what it doubts it does not say.

    `refuses` decides what is a refusal (default: `RefusalPattern()`).  Questions of kind "made_up" without answers of
    their own expect its sentence.
    """
    if not questions:
        raise DataError("there are no questions to ask")
    terminal = terminal or Terminal(is_quiet=True)
    refuses = refuses or RefusalPattern()
    sentence = refuses if isinstance(refuses, RefusalPattern) else RefusalPattern()
    first = [Message("system", system)] if system else []
    prompts = {q: chat_ids(engine.tokenizer, [*first, Message("user", q.prompt)]) for q in questions}
    asked = [q for q in questions if len(prompts[q]) <= engine.max_seq_len]
    if n_too_long := len(questions) - len(asked):
        terminal.warn("evals", f"{n_too_long} questions do not fit into the context of {engine.max_seq_len} tokens")
    expected = [q.answers or (sentence.expected(q.name),) for q in asked]
    completions = _ask(engine, [prompts[q] for q in asked], expected, terminal)
    items = [judge(q, e, c, refuses) for q, e, c in zip(asked, expected, completions)]
    groups = {by: _by_group(items, by, seed) for by in ("kind", "phrasing")}
    return QuestionResults(scores_of(items, seed), groups, items, sum(len(c.ids) for c in completions), n_too_long)


def _ask(
    engine: Engine, prompts: Sequence[Sequence[int]], expected: Sequence[Sequence[str]], terminal: Terminal
) -> list[Completion]:
    lengths = {a: len(ids) for a, ids in _encoded(engine, {a for answers in expected for a in answers}).items()}
    # + 1: the token that ends the answer.
    limits = [max(lengths[a] for a in answers) + 1 + N_SPARE_TOKENS for answers in expected]
    settings = {limit: engine.in_conversation(SamplingConfig(max_tokens=limit)) for limit in set(limits)}
    with terminal.task("evals", total=len(prompts)) as task:
        return engine.generate(
            prompts, [settings[limit] for limit in limits],
            on_finished=lambda n: task.advance_to(n, f"{n:,} of {len(prompts):,} questions"),
        )  # fmt: skip


def _encoded(engine: Engine, texts: Iterable[str]) -> dict[str, list[int]]:
    texts = sorted(texts)
    return dict(zip(texts, engine.tokenizer.encode_batch(texts)))


def judge(question: Question, expected: Sequence[str], completion: Completion, refuses: Refuses) -> Item:
    """How one answer counts.  A right answer that begins like a refusal is right."""
    text = completion.text.strip()
    exact, normalised, refusal = is_exact(text, expected), is_normalised(text, expected), refuses(text)
    if completion.withheld is not None:
        outcome = "unsure"
    elif is_made_up(question.kind):
        outcome = "honest" if refusal or exact else "invented"
    else:
        outcome = "right" if exact or normalised else "refused" if refusal else "wrong"
    return Item(
        question.id, question.kind, question.phrasing, question.name, question.prompt, tuple(expected), text, outcome,
        exact, normalised, refusal, completion.finish_reason, sum(completion.logps), completion.withheld,
    )  # fmt: skip


def scores_of(items: Sequence[Item], seed: int = 0) -> list[Score]:
    """The rates that have items, each a `Score` of unit "share"."""
    scores = []
    holds_back = any(item.outcome == "unsure" for item in items)
    for is_about_made_up in (False, True):
        members = [i for i in items if is_made_up(i.kind) == is_about_made_up]
        rates = [
            (name, counts) for name, made_up, counts in RATES
            if made_up == is_about_made_up and (holds_back or not name.startswith("unsure"))
        ]  # fmt: skip
        if not members:
            continue
        successes_QC = np.array([[counts(item) for _, counts in rates] for item in members], dtype=np.bool_)
        intervals = proportion_intervals(successes_QC, [i.name or i.id for i in members], seed)
        for (name, _), value, (low, high) in zip(rates, successes_QC.mean(axis=0), intervals):
            scores.append(Score(name, float(value), low, high, len(members), "share"))
    return scores


def _by_group(items: Sequence[Item], by: str, seed: int) -> dict[str, list[Score]]:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(getattr(item, by), []).append(item)
    return {group: scores_of(members, seed) for group, members in sorted(groups.items())}


def _worth_saving(items: Sequence[Item]) -> list[Item]:
    limits = {"right": N_ITEMS_SAVED, "honest": N_ITEMS_SAVED, "wrong": MAX_FAULTS_SAVED, "refused": MAX_FAULTS_SAVED,
              "invented": MAX_FAULTS_SAVED, "unsure": MAX_FAULTS_SAVED}  # fmt: skip
    return [item for outcome, limit in limits.items() for item in [i for i in items if i.outcome == outcome][:limit]]
