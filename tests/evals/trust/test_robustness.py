"""Which wording a model minds is found, and which it does not."""

import random
import re

from glasshouse.core.records import Question
from glasshouse.evals.trust.robustness import robustness, with_other_casing, with_typos

from .conftest import MadeModel, scores

QUESTIONS = [Question(f"q{n}", f"Please tell where file{n} lives", (f"in m{n}",), "module", "module/0", f"file{n}")
             for n in range(40)]  # fmt: skip
OTHERS = [Question(q.id, f"home of {q.name}?", q.answers, q.kind, "module/1", q.name) for q in QUESTIONS]


def answers(prompt: str) -> str:
    number = re.search(r"file(\d+)", prompt)
    return f"in m{number[1]}" if number else "in os"


def test_what_does_not_mind_the_wording_is_unchanged(subject) -> None:
    found = scores(robustness(subject(MadeModel(answers), questions=QUESTIONS, paraphrases=OTHERS)))
    for way in ("typos", "casing", "paraphrase"):
        assert found[f"{way}: answers changed"].value == 0 and found[f"{way}: change of accuracy"].value == 0


def test_what_minds_typos_alone_is_told_so(subject) -> None:
    def minds_typos(prompt: str) -> str:
        words = set(re.sub(r"file\d+", "", prompt.lower()).split())
        return answers(prompt) if words <= {"please", "tell", "where", "lives", "home", "of", "?"} else "in os"

    finding = robustness(subject(MadeModel(minds_typos), questions=QUESTIONS, paraphrases=OTHERS))
    found = scores(finding)
    assert found["typos: answers changed"].value > 0.9 and found["typos: change of accuracy"].high < -0.8
    assert found["casing: answers changed"].value == 0 == found["paraphrase: answers changed"].value
    assert all("typos: right, then wrong" in example.note for example in finding.examples)


def test_one_who_always_takes_the_first_option_changes_with_their_order(subject) -> None:
    first = MadeModel(answers, lambda context, letter: 0.0 if letter.strip() == "A" else -9.0)
    found = scores(robustness(subject(first, questions=QUESTIONS)))
    assert found["option order: answers changed"].value > 0.5
    assert found["option order: change of accuracy"].low < 0 < found["option order: change of accuracy"].high

    def knows(context: str, letter: str) -> float:
        asked = re.search(r"file(\d+)", context)[1]
        return 0.0 if re.search(rf"^{letter.strip()}\. in m{asked}$", context, re.M) else -9.0

    found = scores(robustness(subject(MadeModel(answers, knows), questions=QUESTIONS)))
    assert found["option order: answers changed"].value == 0


def test_the_name_asked_about_is_left_alone() -> None:
    rng = random.Random(0)
    question = Question("q", "Please explain shutil.copytree carefully", ("x",), "summary", "", "shutil.copytree")
    for _ in range(30):
        assert "shutil.copytree" in with_typos(question, rng) and with_typos(question, rng) != question.prompt
        assert with_other_casing(question, rng) in (
            "PLEASE EXPLAIN shutil.copytree CAREFULLY", "please explain shutil.copytree carefully",
        )  # fmt: skip


def test_without_questions_the_order_of_options_is_asked_of_text(subject, shards) -> None:
    finding = robustness(subject(MadeModel(), is_chat=False, held_out=shards["holdout"]))
    assert "option order: answers changed" in scores(finding) and len(finding.missing) == 1
