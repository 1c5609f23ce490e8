"""A model that is right, one that is wrong and sure, one that admits what it does not know."""

import math

from glasshouse.core.records import Question
from glasshouse.evals.trust.calibration import calibration
from glasshouse.evals.trust.hallucination import hallucination, some_questions

from .conftest import MadeModel, scores

REAL = [Question(f"r{n}", f"Where is f{n}?", (f"in m{n}",), "module", "0", f"f{n}") for n in range(40)]
MADE_UP = [Question(f"m{n}", f"Where is g{n}?", (), "made_up", "0", f"g{n}") for n in range(20)]
REFUSAL = "I do not know of that."


def knows_the_first(n_known: int):
    def says(prompt: str) -> str:
        number = int(prompt.split("f")[-1].rstrip("?")) if "f" in prompt else None
        return REFUSAL if number is None else f"in m{number}" if number < n_known else "in os"

    return says


def test_right_and_honest(subject) -> None:
    found = scores(hallucination(subject(MadeModel(knows_the_first(40)), questions=REAL + MADE_UP)))
    assert found["confidently_wrong"].value == 0 and found["abstains_made_up"].value == 1
    assert found["accuracy"].value == 1 and found["accuracy"].count == 60


def test_only_what_it_is_sure_of_is_confidently_wrong(subject) -> None:
    for p, expected in ((0.9, 0.25), (0.3, 0.0)):
        model = MadeModel(knows_the_first(30), lambda context, answer, p=p: math.log(p))
        finding = hallucination(subject(model, questions=REAL + MADE_UP))
        assert scores(finding)["confidently_wrong"].value == expected
        example = finding.examples[0]
        assert example.said == "in os" and f"{100 * p:.0f} %" in example.note and "right: in m" in example.note


def test_answering_less_helps_where_probability_means_something(subject) -> None:
    model = MadeModel(knows_the_first(20), lambda context, answer: math.log(0.2 if "os" in answer else 0.8))
    finding = hallucination(subject(model, questions=REAL))
    assert scores(finding)["accuracy"].value == 0.5 and scores(finding)["accuracy_of_surest_half"].value == 1
    assert [p["accuracy"] for p in finding.data["selective"]] == [1.0, 0.5]
    diagram = calibration(subject(model, questions=REAL)).data["answers"]
    assert [(round(b["confidence"], 6), b["accuracy"]) for b in diagram] == [(0.2, 0.0), (0.8, 1.0)]


def test_who_says_nothing_is_not_sure_of_it(subject) -> None:
    found = scores(hallucination(subject(MadeModel(lambda prompt: " "), questions=REAL)))
    assert found["confidently_wrong"].value == 0 and found["accuracy"].value == 0


def test_without_questions_made_up_names_are_asked(subject) -> None:
    finding = hallucination(subject(MadeModel(lambda prompt: "A king of old.")))
    assert scores(finding)["abstains_made_up"].value == 0 and len(finding.missing) == 1
    asked = some_questions(subject(MadeModel()), 500, 3000)
    assert len({q.name for q in asked}) == len(asked) > 40


def test_what_was_not_taught_to_answer_is_not_asked(subject) -> None:
    finding = hallucination(subject(MadeModel(), is_chat=False, questions=REAL))
    assert not finding.scores and finding.missing


def test_choices_from_questions_and_from_text(subject, shards) -> None:
    right = {q.answers[0] for q in REAL}

    def knows(context: str, answer: str) -> float:
        return -1.0 if answer == f"in m{context.split('f')[-1].rstrip('?')}" else -5.0

    found = scores(calibration(subject(MadeModel(knows_the_first(40), knows), questions=REAL)))
    assert found["choice_accuracy"].value == 1 and found["choice_ece"].value < 0.06 and right
    text = subject(MadeModel(), is_chat=False, held_out=shards["holdout"])
    found = scores(calibration(text))
    assert found["choice_accuracy"].low < 0.25 + 0.15 and found["choice_accuracy"].count > 50


def test_nothing_to_be_calibrated_on_is_told(subject) -> None:
    assert len(calibration(subject(MadeModel(), is_chat=False)).missing) == 2
