"""Tasks put to models: scores against counting by hand, logs, going on, prompts that are too long."""

import json
import math

import pytest

from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.files import read_jsonl
from glasshouse.core.terminal import Terminal
from glasshouse.evals import EngineModel, Likelihood, Task, TaskConfig, TooLong, evaluate
from glasshouse.evals.evaluation import read_result
from glasshouse.infer import Engine

CHOICES = {"field": "options", "prefix": " ", "right": "{right}"}
QUIZ = [{"q": f"{i}?", "options": ["yes", "no", "maybe"], "right": i % 3, "kind": "ab"[i % 2], "name": str(i // 4)}
        for i in range(24)]  # fmt: skip


class Scripted:
    """A model with three methods: prefers what `prefers(prompt, text)` gives most, says what `says(prompt)` gives."""

    def __init__(self, prefers=lambda prompt, text: -float(len(text)), says=lambda prompt: "yes", longest=10**6):
        self.prefers, self.says, self.longest, self.n_asked = prefers, says, longest, 0

    def likelihoods(self, pairs):
        if too_long := [i for i, (prompt, _) in enumerate(pairs) if len(prompt) > self.longest]:
            raise TooLong(too_long, [len(pairs[i][0]) for i in too_long], len(pairs), self.longest)
        self.n_asked += len(pairs)
        return [Likelihood(self.prefers(p, t), False, max(1, len(t) // 2), len(t.encode())) for p, t in pairs]

    def rolling_likelihoods(self, texts):
        return [Likelihood(-2.0 * len(t), False, len(t), len(t.encode())) for t in texts]

    def generate(self, prompts, options):
        if too_long := [i for i, prompt in enumerate(prompts) if len(prompt) > self.longest]:
            raise TooLong(too_long, [len(prompts[i]) for i in too_long], len(prompts), self.longest)
        self.n_asked += len(prompts)
        return [self.says(prompt) for prompt in prompts]


@pytest.fixture
def task(tmp_path):
    def task(records, **config) -> Task:
        (tmp_path / "data.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
        values = {"name": "t", "data": {"path": "data.jsonl"}, **config}
        return Task(TaskConfig.model_validate(values), tmp_path)

    return task


def by_name(scores):
    return {score.name: score for score in scores}


def test_three_ways_to_weigh_options(task):
    quiz = [{"q": "?", "options": ["aaaa", "bb"], "right": i} for i in (0, 0, 1)]
    logps = {" aaaa": -3.0, " bb": -2.5}
    model = Scripted(lambda prompt, text: logps[text])
    [result] = evaluate(model, [task(quiz, prompt="{q}", choices=CHOICES)])
    scores = by_name(result.scores)
    assert scores["accuracy"].value == pytest.approx(1 / 3)  # -2.5 beats -3
    assert scores["accuracy_per_token"].value == pytest.approx(2 / 3)  # 2 tokens against 1
    assert scores["accuracy_per_byte"].value == pytest.approx(2 / 3)  # 5 bytes against 3
    assert result.baselines == {"chance": 0.5, "commonest": pytest.approx(2 / 3)}
    assert result.n_items == 3 and scores["accuracy"].low < scores["accuracy"].value < scores["accuracy"].high


def test_controls_groups_and_units(task):
    made = task(QUIZ, prompt="{q}", choices=CHOICES, controls=["empty_question", "shuffled_options"], group_by="kind",
                unit="name", metrics=["accuracy"])  # fmt: skip
    model = Scripted(
        lambda prompt, text: (" yes", " no", " maybe").index(text) == (int(prompt[:-1] or 0) % 3 if prompt else 0)
    )
    [result] = evaluate(model, [made])
    assert result.scores[0].value == 1.0
    assert result.controls["empty_question"][0].value == pytest.approx(1 / 3)
    assert result.controls["shuffled_options"][0].value == 1.0
    assert {name: scores[0].count for name, scores in result.groups.items()} == {"a": 12, "b": 12}


def test_classes_are_counted(task):
    quiz = [{"q": str(i), "l": right} for i, right in enumerate((0, 0, 0, 1))]
    made = task(quiz, prompt="{q}", choices={"texts": [" bad", " good"], "right": "{l}"})
    [result] = evaluate(Scripted(lambda prompt, text: text == " bad"), [made])
    assert by_name(result.scores)["macro_f1"].value == pytest.approx((6 / 7 + 0) / 2)


def test_pairs(task):
    pairs = [{"g": "she runs", "b": "she run"}, {"g": "they run", "b": "they runs"}]
    [result] = evaluate(Scripted(), [task(pairs, pairs={"good": "{g}", "bad": "{b}"})])
    assert result.scores[0].value == 0.5 and result.baselines == {"chance": 0.5, "shorter": 0.5}


def test_texts(task):
    [result] = evaluate(Scripted(), [task([{"text": "abc"}, {"text": "Größe"}], text={})])
    assert result.scores[0].value == pytest.approx(2 * 8 / math.log(2) / 10) and result.scores[0].unit == "bits/byte"


def test_answers_by_several_scorers(task):
    made = task([{"q": "1+1=", "a": "2"}, {"q": "2+2=", "a": "4"}], prompt="{q}",
                answers={"scorers": ["exact", "numeric", "rouge_l", "chrf"], "right": "{a}"})  # fmt: skip
    [result] = evaluate(Scripted(says=lambda prompt: "it is 2"), [made])
    scores = by_name(result.scores)
    assert (scores["exact"].value, scores["numeric"].value) == (0.0, 0.5)
    assert scores["rouge_l"].value == pytest.approx((2 / 4) / 2) and 0 < scores["chrf"].value < 0.5


def test_a_program_is_run_against_its_tests(task):
    tests = ["assert double(2) == 4", "assert double('a') == 'aa'"]
    made = task([{"q": "double", "tests": tests}], prompt="# {q}\ndef",
                answers={"scorers": ["python"], "right": "{tests}", "begins_with": "def"})  # fmt: skip
    [right] = evaluate(Scripted(says=lambda prompt: " double(x):\n    return 2 * x"), [made])
    [wrong] = evaluate(Scripted(says=lambda prompt: " double(x):\n    return x"), [made])
    assert (right.scores[0].value, wrong.scores[0].value) == (1.0, 0.0)


def test_every_item_is_kept(task, tmp_path):
    made = task(QUIZ, prompt="Q{q}", choices=CHOICES, controls=["empty_question"])
    [result] = evaluate(Scripted(), [made], out=tmp_path / "out", model_name="scripted")
    head, *lines = read_jsonl(tmp_path / "out" / "t.items.jsonl")
    assert head == {"task": "t", "hash": made.hash, "model": "scripted"} and len(lines) == 48
    first = lines[0]
    assert first["prompt"] == "Q0?" and first["options"] == [" yes", " no", " maybe"] and first["right"] == 0
    assert first["answer"] == " no" and first["columns"]["accuracy"] == [0.0, 1.0] and len(first["prompt_hash"]) == 16
    read, items = read_result(tmp_path / "out" / "t.json")
    assert read == result and items == lines


class Interrupted(Exception):
    pass


def test_an_evaluation_goes_on_where_it_stopped(task, tmp_path, monkeypatch):
    monkeypatch.setattr("glasshouse.evals.evaluation.CHUNK", 5)
    made = task(QUIZ, prompt="{q}", choices=CHOICES, controls=["shuffled_options"])
    whole, stopped, second = Scripted(), Scripted(), Scripted()
    [expected] = evaluate(whole, [made], out=tmp_path / "whole", model_name="m")

    def stop(prompt, text):
        if stopped.n_asked >= 3 * 30:
            raise Interrupted
        return -float(len(text))

    stopped.prefers = stop
    with pytest.raises(Interrupted):
        evaluate(stopped, [made], out=tmp_path / "out", model_name="m")
    assert not (tmp_path / "out" / "t.json").exists()
    with (tmp_path / "out" / "t.items.jsonl").open("a") as file:
        file.write('{"asking": "score", "num')  # torn by the kill
    [result] = evaluate(second, [made], out=tmp_path / "out", model_name="m")
    assert result.scores == expected.scores and result.controls == expected.controls
    assert second.n_asked == whole.n_asked - (24 + 5) * 3  # 24 items and one chunk of the control were there
    third = Scripted()
    assert evaluate(third, [made], out=tmp_path / "out", model_name="m")[0].scores == expected.scores
    assert third.n_asked == 0


def test_results_of_another_model_are_replaced(task, tmp_path):
    made = task(QUIZ, prompt="{q}", choices=CHOICES)
    evaluate(Scripted(), [made], out=tmp_path / "out", model_name="old")
    other = Scripted(lambda prompt, text: float(len(text)))
    [result] = evaluate(other, [made], out=tmp_path / "out", model_name="new")
    assert other.n_asked == 72 and read_result(tmp_path / "out" / "t.json")[0].model == "new"
    assert result.scores[0].value == pytest.approx(1 / 3)


LONG = [*QUIZ[:3], {**QUIZ[3], "q": "x" * 50}]


def test_prompts_beyond_the_context_are_refused(task):
    made = task(LONG, prompt="{q}", choices=CHOICES)
    with pytest.raises(ConfigError, match=r"1 of 4 prompts are longer .* of 20 tokens; the first is record 3 with 50"):
        evaluate(Scripted(longest=20), [made])
    made = task([{"q": "y" * 60, "a": "b"}], prompt="{q}", answers={"scorers": ["exact"], "right": "{a}"})
    with pytest.raises(ConfigError, match=r'the first is record 0 with 60.*too_long = "skip"'):
        evaluate(Scripted(longest=20), [made])


def test_or_left_out_and_counted(task, tmp_path):
    made = task(LONG, prompt="{q}", choices=CHOICES, too_long="skip")
    [result] = evaluate(Scripted(longest=20), [made], out=tmp_path / "out", model_name="m")
    assert (result.n_items, result.n_too_long, result.scores[0].count) == (3, 1, 3)
    again = Scripted(longest=20)
    assert evaluate(again, [made], out=tmp_path / "out", model_name="m")[0].n_too_long == 1 and again.n_asked == 0


def test_nothing_but_prompts_that_are_too_long(task):
    made = task(LONG[3:], prompt="{q}", choices=CHOICES, too_long="skip")
    with pytest.raises(DataError, match="no items left"):
        evaluate(Scripted(longest=20), [made])


def test_a_fault_in_the_last_task_is_found_before_the_first_is_asked(task, tmp_path):
    model = Scripted()
    good = task(QUIZ, prompt="{q}", choices=CHOICES)
    bad = Task(TaskConfig.model_validate({"name": "u", "data": {"path": "none.jsonl"}, "text": {}}), tmp_path)
    with pytest.raises(DataError, match="no such file"):
        evaluate(model, [good, bad])
    assert model.n_asked == 0


def test_no_tasks():
    with pytest.raises(ConfigError, match="no task to evaluate"):
        evaluate(Scripted(), [])


def test_a_real_model_by_the_engine(task, model, tokenizer):
    judged = EngineModel(Engine(model, tokenizer))
    records = [
        {"q": "import", "options": ["json", "os", "re"], "right": 0},
        {"q": "def", "options": ["f", "g", "h"], "right": 1},
    ]
    [result] = evaluate(judged, [task(records, prompt="{q}", choices=CHOICES)], terminal=Terminal(is_quiet=True))
    logps = [judged.likelihoods([(r["q"], f" {o}") for o in r["options"]]) for r in records]
    expected = [max(range(3), key=lambda i: found[i].logp_sum) == r["right"] for found, r in zip(logps, records)]
    assert result.scores[0].value == pytest.approx(sum(expected) / 2)
