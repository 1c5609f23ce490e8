"""From records to prompts."""

import json

import pytest

from glasshouse.core.errors import DataError
from glasshouse.core.records import Message
from glasshouse.evals.items import prepare
from glasshouse.evals.task import Task, TaskConfig


@pytest.fixture
def task(tmp_path):
    def task(records, **config) -> Task:
        (tmp_path / "data.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
        values = {"name": "t", "data": {"path": "data.jsonl"}, **config}
        return Task(TaskConfig.model_validate(values), tmp_path)

    return task


QUIZ = [{"q": f"What is {i}+1?", "options": [str(i), str(i + 1), str(i + 2)], "right": 1, "kind": "ab"[i % 2]}
        for i in range(8)]  # fmt: skip
CHOICES = {"field": "options", "prefix": " ", "right": "{right}"}
ANSWERS = {"scorers": ["exact"], "right": "{a}"}


def test_a_choice(task):
    item = prepare(task(QUIZ, prompt="Q: {q}\nA:", choices=CHOICES)).items[2]
    assert (item.prompt, item.options, item.right) == ("Q: What is 2+1?\nA:", (" 2", " 3", " 4"), 1)
    assert item.number == 2 and item.unit == "2" and len(item.prompt_hash) == 16


def test_options_shown_by_letter(task):
    item = prepare(task(QUIZ, prompt="{q}\n{options}\nA:", choices={**CHOICES, "shows_letters": True})).items[0]
    assert item.prompt == "What is 0+1?\nA. 0\nB. 1\nC. 2\nA:" and item.options == (" A", " B", " C")


@pytest.mark.parametrize(
    ("given", "kind", "place"), [(2, "number", 2), ("2", "number_from_1", 1), ("B", "letter", 1), (" 3", "text", 0)]
)
def test_the_right_option_by_number_letter_or_text(task, given, kind, place):
    records = [{"q": "?", "options": ["3", "2", "1"], "right": given}]
    made = task(records, prompt="{q}", choices={**CHOICES, "right_is": kind})
    assert prepare(made).items[0].right == place


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"right": 3}, "is one of .*; got '3'"), ({"options": ["a"]}, "from 2 to 26 options"),
        ({"options": ["a", "a"]}, "each different"), ({"options": "ab"}, "must be a list"), ({"right": -1}, "got '-1'"),
    ],
)  # fmt: skip
def test_a_faulty_record_is_named(task, record, fault):
    with pytest.raises(DataError, match=fault) as error:
        prepare(task([QUIZ[0], {**QUIZ[1], **record}], prompt="{q}", choices=CHOICES))
    assert "task t, record 1" in str(error.value)


def test_controls(task):
    found = prepare(task(QUIZ, prompt="Q: {q}\nA:", choices=CHOICES, controls=["empty_question", "shuffled_options"]))
    for item, blank, moved in zip(found.items, *found.controls.values()):
        assert blank.prompt == "Q: \nA:" and blank.options == item.options and blank.right == item.right
        assert moved.options != item.options and set(moved.options) == set(item.options)
        assert moved.options[moved.right] == item.options[item.right] and moved.prompt == item.prompt


def test_examples_are_the_same_for_all_and_never_the_item_itself(task):
    items = prepare(task(QUIZ, prompt="Q: {q}\nA:", choices=CHOICES, examples={"n": 2, "seed": 1})).items
    assert all(item.prompt.count("Q: ") == 3 and item.prompt.count(item.question) == 1 for item in items)
    beginnings = {item.prompt.removesuffix(item.question) for item in items}
    assert len(beginnings) <= 3  # all but those that are examples themselves have the same two
    assert "Q: What is" in (first := min(beginnings)) and first.endswith("\n\n") and "\nA: " in first


def test_examples_of_other_data_as_turns_of_a_chat(task, tmp_path):
    (tmp_path / "train.jsonl").write_text('{"q": "1+1?", "a": "2"}\n')
    made = task([{"q": "2+2?", "a": "4"}], prompt="{q}", chat=True, system="Be brief.", answers=ANSWERS,
                examples={"n": 1, "data": {"path": "train.jsonl"}})  # fmt: skip
    turns = [("system", "Be brief."), ("user", "1+1?"), ("assistant", "2"), ("user", "2+2?")]
    assert prepare(made).items[0].prompt == tuple(Message(role, text) for role, text in turns)


def test_too_few_records_for_the_examples(task):
    with pytest.raises(DataError, match="9 examples are wanted, and there are 8 records"):
        prepare(task(QUIZ, prompt="{q}", choices=CHOICES, examples={"n": 8}))


def test_a_limit_keeps_every_groups_share_and_is_the_same_each_time(task):
    limited = task(QUIZ, prompt="{q}", choices=CHOICES, group_by="kind", limit=4)
    numbers = [item.number for item in prepare(limited).items]
    assert numbers == sorted(numbers) == [item.number for item in prepare(limited).items]
    assert sorted(item.group for item in prepare(limited).items) == ["a", "a", "b", "b"]


def test_no_items(task):
    with pytest.raises(DataError, match="task t: there are no items in"):
        prepare(task([], prompt="{q}", choices=CHOICES))
    with pytest.raises(DataError, match=r"there are no items where \{'kind': 'c'\}"):
        prepare(task(QUIZ, prompt="{q}", choices=CHOICES, data={"path": "data.jsonl", "where": {"kind": "c"}}))


GIVEN_AWAY = [{"q": "Where is shutil.copy? Is it shutil?", "a": "shutil"}, {"q": "Where is dumps?", "a": "json"}]


def test_questions_that_hold_their_answer_are_refused(task):
    with pytest.raises(
        DataError, match="1 of 2 questions hold their own answer; the first is record 0, where 'shutil'"
    ):
        prepare(task(GIVEN_AWAY, prompt="{q}", answers=ANSWERS))


def test_or_left_out_or_allowed(task):
    skipped = prepare(task(GIVEN_AWAY, prompt="{q}", answers=ANSWERS, answer_in_prompt="skip"))
    assert [item.number for item in skipped.items] == [1] and skipped.n_given_away == 1
    assert len(prepare(task(GIVEN_AWAY, prompt="{q}", answers=ANSWERS, answer_in_prompt="allow")).items) == 2
    with pytest.raises(DataError, match="no items left"):
        prepare(task(GIVEN_AWAY[:1], prompt="{q}", answers=ANSWERS, answer_in_prompt="skip"))


@pytest.mark.parametrize(
    ("question", "is_refused"), [("The capital Paris?", True), ("Paris or Berlin?", False), ("Parisian?", False)]
)
def test_a_choice_gives_itself_away_when_the_right_option_alone_stands_in_it(task, question, is_refused):
    made = task([{"q": question, "options": ["Paris", "Berlin"], "right": 0}], prompt="{q}", choices=CHOICES)
    if is_refused:
        with pytest.raises(DataError, match="hold their own answer"):
            prepare(made)
    else:
        assert len(prepare(made).items) == 1


def test_labels_may_occur_in_a_text(task):
    made = task([{"q": "good, not bad at all, good", "l": 1}, {"q": "a good one", "l": 1}], prompt="{q}\nIt was",
                choices={"texts": [" awful", " good"], "right": "{l}"})  # fmt: skip
    assert len(prepare(made).items) == 2


def test_faulty_records_may_be_left_out_and_are_counted(task):
    pairs = [{"g": "same", "b": "same"}, {"g": "a", "b": "b"}]
    found = prepare(task(pairs, pairs={"good": "{g}", "bad": "{b}"}, faulty="skip"))
    assert [item.number for item in found.items] == [1] and found.n_faulty == 1


def test_no_answer(task):
    with pytest.raises(DataError, match="record 0: it has no right answer"):
        prepare(task([{"q": "?", "a": " "}], prompt="{q}", answers=ANSWERS))


def test_a_pair_of_one_sentence(task):
    with pytest.raises(DataError, match="two different sentences"):
        prepare(task([{"g": "same", "b": "same"}], pairs={"good": "{g}", "bad": "{b}"}))


def test_an_empty_text(task):
    with pytest.raises(DataError, match="the text is empty"):
        prepare(task([{"text": ""}], text={}))
