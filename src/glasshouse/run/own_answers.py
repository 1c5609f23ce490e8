"""Preferences that need no people: the model answers questions of its training, and what is true decides between.

Of a fresh epoch of the teaching's conversations (known names, and made-up names never drawn before) the model answers
every question once, sampled.  A faulty answer gives a preference, where the recipe asks for its sort (`faults`):
- true over wrong            the taught answer over another one
- true over "I do not know"  the taught answer over a refusal of a known name
- "I do not know" over wrong the refusal over an answer about a made-up name
Right answers give none and stay examples to imitate: a model that hears of its mistakes alone forgets the rest, and one
that is only ever told to doubt doubts everything.

The quickstart leaves "true over wrong" out: in the words of training few answers are wrong, and in others it makes the
model surer of what it takes a question for (JOURNAL.md: 229 wrong answers, 141 after it, 84 after the others alone).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from glasshouse.core.errors import DataError
from glasshouse.core.records import Conversation, Preference
from glasshouse.evals.matching import is_exact
from glasshouse.evals.questions import is_made_up
from glasshouse.infer import Engine, SamplingConfig, chat_ids
from glasshouse.run.teaching import Teaching

Outcome = Literal["right", "wrong", "refused", "invented"]
FRESH_EPOCH = 1_000_000  # no training comes so far: what is asked here was never asked before
MAX_ANSWER_TOKENS = 48


@dataclass(frozen=True, slots=True)
class Answered:
    """`conversation` is a question with the right answer; `text` is what the model said."""

    conversation: Conversation
    text: str
    outcome: Outcome


def fresh_conversations(teaching: Teaching, n_questions: int) -> list[Conversation]:
    """Questions with their answers, none asked before.  `DataError` where the teaching asks nothing."""
    asked: list[Conversation] = []
    epoch = FRESH_EPOCH
    while len(asked) < n_questions:
        conversations = [c for c in teaching.conversations(epoch) if c.meta.get("kind") != "greeting"]
        if not conversations:
            raise DataError("this teaching asks nothing, so nothing can be answered. Leave out the stage align.")
        asked += conversations
        epoch += 1
    return asked[:n_questions]


def answer_questions(
    engine: Engine, asked: Sequence[Conversation], teaching: Teaching, temperature: float, seed: int
) -> list[Answered]:
    """Each question answered once, sampled."""
    prompts = [chat_ids(engine.tokenizer, c.messages[:-1]) for c in asked]
    settings = [
        SamplingConfig(temperature=temperature, max_tokens=MAX_ANSWER_TOKENS, seed=seed + number)
        for number in range(len(prompts))
    ]
    completions = engine.generate(prompts, settings)
    return [_judged(c, completion.text.strip(), teaching) for c, completion in zip(asked, completions)]


def outcomes(answered: Sequence[Answered]) -> dict[str, int]:
    return {outcome: sum(a.outcome == outcome for a in answered) for outcome in get_args(Outcome)}


def _judged(conversation: Conversation, text: str, teaching: Teaching) -> Answered:
    made_up = is_made_up(str(conversation.meta.get("kind", "")))
    refuses = teaching.refuses(text)
    if is_exact(text, (conversation.messages[-1].content,)) or (made_up and refuses):
        return Answered(conversation, text, "right")
    return Answered(conversation, text, "invented" if made_up else "refused" if refuses else "wrong")


def preferences_from(answered: Sequence[Answered], faults: Collection[Outcome]) -> dict[str, list[Preference]]:
    """By sort, as named above; of these faults alone."""
    return {
        sort: [_preference(a) for a in answered if a.outcome == outcome]
        for outcome, sort in SORTS.items() if outcome in faults
    }  # fmt: skip


def examples_from(answered: Sequence[Answered]) -> list[Conversation]:
    return [a.conversation for a in answered if a.outcome == "right"]


SORTS: dict[Outcome, str] = {
    "wrong": "true over wrong",
    "refused": "true over I do not know",
    "invented": "I do not know over wrong",
}


def _preference(answered: Answered) -> Preference:
    *prompt, truth = answered.conversation.messages
    return Preference(
        tuple(prompt), truth.content, answered.text, answered.conversation.id, meta=answered.conversation.meta
    )
