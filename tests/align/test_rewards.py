import math

import pytest

from glasshouse.align.rewards import (
    REWARDS,
    Exchange,
    FinishedReward,
    FormatReward,
    HonestReward,
    LengthReward,
    RewardModelReward,
    ScorerReward,
    WeightedReward,
    describe_reward,
    make_reward,
    rewards_of,
)
from glasshouse.core.errors import ConfigError, DataError, TrainingError
from glasshouse.core.records import Message, Question
from glasshouse.evals import SCORERS

ASKED = (Message("user", "What is 2 + 2?"),)
SUM = Question("sum", "What is 2 + 2?", ("4",))
MADE_UP = Question("made-up", "Where is os.fly?", (), kind="made_up_pair")


def said(*answers: str, question: Question | None = SUM, finish_reason: str = "stop") -> list[Exchange]:
    return [Exchange(ASKED, answer, question, finish_reason) for answer in answers]  # type: ignore[arg-type]


def test_scorer():
    assert ScorerReward("numeric")(said("it is 4.", "5", "")) == [1.0, 0.0, 0.0]
    cut_off = said("4", finish_reason="length")
    assert ScorerReward("exact")(cut_off) == [0.0] and ScorerReward("exact", only_finished=False)(cut_off) == [1.0]


def test_a_scorer_needs_a_question():
    with pytest.raises(DataError, match=r"'exact' needs to know what is right.*'What is 2 \+ 2\?'"):
        ScorerReward("exact")(said("4", question=None))


def test_honesty():
    reward = HonestReward(wrong=-3.0)
    assert reward(said("4", "5", "I do not know.")) == [1.0, -3.0, 0.0]
    assert reward(said("I do not know of `os.fly`.", "in os", question=MADE_UP)) == [1.0, -3.0]


def test_reward_model_reads_the_whole_conversation():
    class Judge:
        def score(self, conversations):
            self.seen = conversations
            return [len(c.messages[-1].content) for c in conversations]

    judge = Judge()
    assert RewardModelReward(judge)(said("four", "4")) == [4, 1]
    assert [m.role for m in judge.seen[0].messages] == ["user", "assistant"]


def test_form():
    assert FormatReward(r"<think>.*</think>\s*\d+")(said("<think>a\nb</think> 4\n", "4", "x<think></think>4")) == [
        1,
        0,
        0,
    ]
    assert FinishedReward()([*said("4"), *said("4", finish_reason="length")]) == [0.0, -1.0]


def test_length_by_hand():
    """Free to 10, -1 at 20: 15 costs one half."""
    assert LengthReward(20, 10)(said("x" * 10, "x" * 15, "x" * 20, "x" * 99, "")) == [0.0, -0.5, -1.0, -1.0, 0.0]


def test_weights():
    reward = WeightedReward(((1.0, ScorerReward("exact")), (0.5, LengthReward(2))))
    assert reward.name == "exact + 0.5*length"
    assert reward(said("4", "55")) == [0.75, -0.5]
    assert reward.parts(said("4")) == {"exact": [1.0], "length": [-0.5]}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_an_error(value):
    class Broken:
        name = "broken"

        def __call__(self, exchanges):
            return [value for _ in exchanges]

    for reward in (Broken(), WeightedReward(((0.1, Broken()),))):
        with pytest.raises(TrainingError, match=r"'broken' gave (nan|inf) for the answer '4'"):
            rewards_of(reward, said("4"))


def test_one_number_for_each_answer():
    class Short:
        name = "short"

        def __call__(self, exchanges):
            return [1.0]

    with pytest.raises(TrainingError, match="gave 1 numbers for 2 answers"):
        rewards_of(Short(), said("4", "5"))


def test_by_name():
    assert make_reward(["exact"]) == ScorerReward("exact")
    assert isinstance(honest := make_reward(["honest:-2"]), HonestReward) and honest.wrong == -2
    reward = make_reward(["numeric", " -0.1 * length:10-20", "2*format:a:b"])
    assert isinstance(reward, WeightedReward)
    assert reward.weighted == (
        (1.0, ScorerReward("numeric")), (-0.1, LengthReward(20, 10)), (2.0, FormatReward("a:b"))
    )  # fmt: skip
    assert set(SCORERS) < set(REWARDS)


def test_where_programs_run_it_says_what_holds_them():
    assert describe_reward(make_reward(["exact", "length:9"])) == []
    reward = WeightedReward(((1.0, ScorerReward("exact")), (1.0, ScorerReward("python"))))
    assert describe_reward(reward)[0].startswith("no network")


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("numerik", "no reward is called 'numerik'. Did you mean \"numeric\"?"),
        ("exact:4", "takes no argument"),
        ("x*exact", "is written NAME"),
        ("1e999*exact", "must be a number"),
        ("format", "needs a regular expression"),
        ("format:(", "is not a regular expression"),
        ("length", "needs length:MAX"),
        ("length:20-10", "needs length:MAX"),
        ("length:many", "must be a number"),
        ("honest:very", "must be a number"),
        ("model", "needs the folder"),
        ("", "is written NAME"),
    ],
)
def test_bad_names(term, message):
    with pytest.raises(ConfigError) as caught:
        make_reward([term])
    assert message in str(caught.value)


def test_no_reward():
    with pytest.raises(ConfigError, match="no reward is given"):
        make_reward([])
