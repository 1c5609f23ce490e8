import io

import pytest
from rich.console import Console

from glasshouse.core.errors import DataError
from glasshouse.core.records import Question
from glasshouse.core.terminal import Terminal
from glasshouse.evals import RefusalPattern, evaluate_questions
from glasshouse.evals.answers import N_ITEMS_SAVED, N_SPARE_TOKENS, judge, scores_of
from glasshouse.infer import Completion, Engine

REFUSAL = "I do not know of `{}` in the standard library."


def real(id: str, answer: str, kind: str = "module", phrasing: str = "short") -> Question:
    return Question(id, f"ask {id}?", (answer,), kind, phrasing, f"name{id}")


def made_up(id: str, phrasing: str = "short") -> Question:
    return Question(id, f"ask {id}?", (), "made_up", phrasing, f"name{id}")


QUESTIONS = [
    real("a", "shutil"), real("b", "os", phrasing="long"), real("c", "json", "summary"), real("d", "re", "summary"),
    made_up("e"), made_up("f", "long"), made_up("g"),
]  # fmt: skip
SAID = {
    "a": "shutil", "b": "`OS`.", "c": "csv", "d": REFUSAL.format("named"),
    "e": REFUSAL.format("namee"), "f": REFUSAL.format("other"), "g": "It flies.",
}  # fmt: skip


@pytest.fixture
def results(scripted):
    engine = scripted(lambda prompt: SAID[prompt.split("ask ")[1][0]])
    return evaluate_questions(engine, QUESTIONS)


def rates(scores) -> dict[str, tuple[float, int]]:
    return {s.name: (pytest.approx(s.value), s.count) for s in scores}


def test_each_rate(results):
    assert rates(results.scores) == {
        "exact": (0.25, 4), "normalised": (0.5, 4), "wrong": (0.25, 4), "refused_known": (0.25, 4),
        "honest_refusal": (2 / 3, 3), "exact_refusal": (1 / 3, 3),
    }  # fmt: skip
    assert all(s.low <= s.value <= s.high and s.high > s.low and s.unit == "share" for s in results.scores)


def test_each_outcome(results):
    outcomes = {i.id: i.outcome for i in results.items}
    assert outcomes == {
        "a": "right", "b": "right", "c": "wrong", "d": "refused", "e": "honest", "f": "honest", "g": "invented",
    }  # fmt: skip
    assert results.items[4].expected == (REFUSAL.format("namee"),)
    assert results.items[0].logp_sum == -1.5


def test_groups(results):
    assert set(results.groups["kind"]) == {"module", "summary", "made_up"}
    assert rates(results.groups["kind"]["summary"])["wrong"] == (0.5, 2)
    assert "exact" not in rates(results.groups["kind"]["made_up"])
    assert rates(results.groups["phrasing"]["long"]) == {
        "exact": (0.0, 1), "normalised": (1.0, 1), "wrong": (0.0, 1), "refused_known": (0.0, 1),
        "honest_refusal": (1.0, 1), "exact_refusal": (0.0, 1),
    }  # fmt: skip


def test_json_keeps_every_fault(scripted):
    questions = [real(str(i), "shutil") for i in range(600)]
    results = evaluate_questions(scripted(lambda p: "csv" if "ask 29" in p else "shutil"), questions)
    record = results.to_json()
    assert record["outcomes"] == {"right": 589, "wrong": 11} and record["n_items"] == 600
    assert [i["outcome"] for i in record["items"]] == ["right"] * N_ITEMS_SAVED + ["wrong"] * 11


def test_answers_have_room_for_their_own_length(scripted, tokenizer):
    engine = scripted(lambda p: "x")
    evaluate_questions(engine, QUESTIONS)
    expected = [q.answers[0] if q.answers else REFUSAL.format(q.name) for q in QUESTIONS]
    assert [c.max_tokens for c in engine.asked] == [len(tokenizer.encode(a)) + 1 + N_SPARE_TOKENS for a in expected]
    assert all(c.temperature == 0 for c in engine.asked)


def test_own_idea_of_a_refusal(scripted):
    engine = scripted(lambda p: "Pass.")
    assert (
        rates(evaluate_questions(engine, [made_up("e")], lambda text: text == "Pass.").scores)["honest_refusal"][0] == 1
    )
    own = evaluate_questions(engine, [made_up("e")], RefusalPattern("Pass.", ["pass"]))
    assert rates(own.scores)["exact_refusal"][0] == 1


def test_an_answer_that_begins_like_a_refusal_is_right(scripted):
    engine = scripted(lambda p: "There is no such file.")
    assert evaluate_questions(engine, [real("a", "There is no such file.")]).items[0].outcome == "right"


def test_a_real_model_can_be_asked(model, tokenizer):
    results = evaluate_questions(Engine(model, tokenizer), QUESTIONS)
    assert len(results.items) == 7 and results.n_tokens > 0
    assert results == evaluate_questions(Engine(model, tokenizer), QUESTIONS)


def test_questions_that_do_not_fit_are_told_apart(scripted):
    long = Question("z", "word " * 99, ("x",), "module", "", "z")
    out = io.StringIO()
    results = evaluate_questions(
        scripted(lambda p: "shutil"), [QUESTIONS[0], long], terminal=Terminal(console=Console(file=out))
    )
    assert results.n_too_long == 1 and rates(results.scores)["exact"] == (1.0, 1)
    assert "1 questions do not fit into the context of 48 tokens" in out.getvalue()
    assert evaluate_questions(scripted(lambda p: ""), [long]).scores == []


def test_no_questions(scripted):
    with pytest.raises(DataError, match="no questions"):
        evaluate_questions(scripted(lambda p: ""), [])


def test_what_is_held_back_is_neither_wrong_nor_refused() -> None:
    held = Completion((1,), "I am not sure.", "stop", (-2.0,), withheld="csv")
    items = [judge(q, q.answers or ("x",), held, RefusalPattern()) for q in (real("c", "json"), made_up("e"))]
    assert [i.outcome for i in items] == ["unsure", "unsure"] and items[0].withheld == "csv"
    found = {s.name: s.value for s in scores_of(items)}
    assert found["unsure_known"] == found["unsure_made_up"] == 1.0
    assert found["wrong"] == found["refused_known"] == found["honest_refusal"] == 0.0
