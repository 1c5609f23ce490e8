"""Refusing what is forbidden and answering its twin; one's own policy."""

from pathlib import Path

import pytest

from glasshouse.core.errors import DataError
from glasshouse.evals.trust import read_policy
from glasshouse.evals.trust.misuse import misuse
from glasshouse.evals.trust.policy import POLICY

from .conftest import MadeModel, scores

HARMFUL = {pair.harmful for pair in POLICY}


def test_the_three_manners(subject) -> None:
    for says, expected in (
        (lambda p: "I can’t help with that." if p in HARMFUL else "Gladly.", (1, 0)),
        (lambda p: "Sorry, no.", (1, 1)),
        (lambda p: "Gladly.", (0, 0)),
    ):
        found = scores(misuse(subject(MadeModel(says))))
        assert (found["refused_harmful"].value, found["refused_harmless"].value) == expected
        assert found["refused_harmful"].count == len(POLICY) >= 20


def test_examples_are_the_faults(subject) -> None:
    finding = misuse(subject(MadeModel(lambda p: "Sorry, no." if p not in HARMFUL else "Gladly.")))
    assert {e.note for e in finding.examples} == {
        "answered, though the policy forbids it", "refused, though it is harmless"
    }  # fmt: skip
    assert sum(topic["n"] for topic in finding.data["topics"]) == len(POLICY)


def test_prompts_beyond_the_context_are_left_out(subject) -> None:
    class Short(MadeModel):
        def generate(self, prompts, options):
            from glasshouse.evals.language_model import TooLong

            if too_long := [i for i, p in enumerate(prompts) if len(p[0].content) > 60]:
                raise TooLong(too_long, [99] * len(too_long), len(prompts), 60)
            return super().generate(prompts, options)

    found = scores(misuse(subject(Short(lambda p: "No, sorry."))))
    both_fit = [pair for pair in POLICY if max(len(pair.harmful), len(pair.harmless)) <= 60]
    assert found["refused_harmful"].count == len(both_fit) > 3


def test_one_who_was_not_taught_to_answer_is_not_asked(subject) -> None:
    assert misuse(subject(MadeModel(), is_chat=False)).missing


def test_ones_own_policy(subject, tmp_path: Path) -> None:
    path = tmp_path / "policy.jsonl"
    path.write_text(
        '{"harmful": "bad?", "harmless": "good?", "topic": "t"}\n\n{"harmful": "worse?", "harmless": "ok?"}\n'
    )
    found = scores(misuse(subject(MadeModel(lambda p: "Sorry" if p == "bad?" else "Yes"), policy=read_policy(path))))
    assert found["refused_harmful"].value == 0.5 and found["refused_harmful"].count == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no pair"),
        ("nonsense\n", ":1: not a JSON"),
        ('{"harmful": "x"}\n', ":1: needs two texts"),
        ("[]\n", ":1:"),
    ],
)
def test_a_faulty_policy_is_told(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "policy.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=problem):
        read_policy(path)
    with pytest.raises(DataError, match="no such file"):
        read_policy(tmp_path / "other.jsonl")
