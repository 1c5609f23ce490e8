"""The model's own answers as preferences: what is true decides, nothing asked in training is asked again."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from glasshouse.core.errors import DataError
from glasshouse.core.records import Conversation, Message, Question
from glasshouse.corpus.questions import is_refusal, refusal
from glasshouse.run.own_answers import (
    Answered,
    _judged,
    examples_from,
    fresh_conversations,
    outcomes,
    preferences_from,
)
from glasshouse.run.recipe import FinetuneConfig
from glasshouse.run.teaching import Teaching, open_teaching


def conversation(kind: str, name: str, answer: str) -> Conversation:
    messages = (Message("user", f"What of {name}?"), Message("assistant", answer))
    return Conversation(messages, id=name, meta={"kind": kind, "name": name})


KNOWN = conversation("module", "copytree", "It is in shutil.")
MADE_UP = conversation("made_up_module", "copyforest", refusal("copyforest"))


def teaching_of(conversations: Sequence[Conversation]) -> Teaching:
    def none(limit: int | None) -> Sequence[Question]:
        return ()

    return Teaching(lambda epoch: conversations, none, is_refusal, "a few")


TEACHING = teaching_of([KNOWN, MADE_UP, conversation("greeting", "", "Hello.")])


@pytest.mark.parametrize(
    ("asked", "said", "outcome"),
    [
        (KNOWN, "It is in shutil.", "right"),
        (KNOWN, "It is in os.", "wrong"),
        (KNOWN, "I do not know of `copytree` in the standard library.", "refused"),
        (MADE_UP, "I do not know of `copyforests` in the standard library.", "right"),
        (MADE_UP, "It is in shutil.", "invented"),
    ],
)
def test_what_becomes_of_an_answer(asked: Conversation, said: str, outcome: str) -> None:
    assert _judged(asked, said, TEACHING).outcome == outcome


def test_a_fault_of_each_sort_gives_its_preference_and_right_answers_stay_examples() -> None:
    answered = [
        *[Answered(MADE_UP, "It is in os.", "invented")] * 5,
        Answered(KNOWN, "It is in os.", "wrong"),
        Answered(KNOWN, "I do not know of `copytree` in the standard library.", "refused"),
        *[Answered(KNOWN, KNOWN.messages[-1].content, "right")] * 9,
        Answered(MADE_UP, MADE_UP.messages[-1].content, "right"),
    ]
    assert outcomes(answered) == {"right": 10, "wrong": 1, "refused": 1, "invented": 5}
    found = preferences_from(answered, ("wrong", "refused", "invented"))
    assert {sort: len(pairs) for sort, pairs in found.items()} == {
        "true over wrong": 1, "true over I do not know": 1, "I do not know over wrong": 5,
    }  # fmt: skip
    assert all(is_refusal(p.chosen) and p.rejected == "It is in os." for p in found["I do not know over wrong"])
    [doubted] = found["true over I do not know"]
    assert (
        doubted.prompt == KNOWN.messages[:-1] and doubted.chosen == "It is in shutil." and is_refusal(doubted.rejected)
    )
    assert examples_from(answered) == [KNOWN] * 9 + [MADE_UP]
    assert list(preferences_from(answered, ("refused",))) == ["true over I do not know"]


def test_fresh_questions_are_not_those_of_training_and_greetings_are_left_out() -> None:
    config = FinetuneConfig(steps=1, seq_len=128, batch_tokens=1024, conversations="stdlib:")
    teaching = open_teaching(config, 1, Path("unused"))
    fresh = fresh_conversations(teaching, 50)
    assert len(fresh) == 50 and all(c.meta["kind"] != "greeting" for c in fresh)
    trained = {c.meta["name"] for c in teaching.conversations(0) if c.meta["kind"].startswith("made_up")}
    drawn = [c.meta["name"] for c in fresh if c.meta["kind"].startswith("made_up")]
    assert drawn and sum(name in trained for name in drawn) < len(drawn) / 2


def test_a_teaching_without_questions_is_refused() -> None:
    with pytest.raises(DataError, match="asks nothing"):
        fresh_conversations(teaching_of([conversation("greeting", "", "Hello.")]), 3)
