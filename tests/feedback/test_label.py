"""What counts as a label: everything that contradicts itself or says nothing is refused in words."""

from typing import Any

import pytest
from asking import one_answer_items, ranking_items

from glasshouse.core.errors import DataError
from glasshouse.feedback import Campaign, Criterion, Item, LabelError
from glasshouse.feedback.campaign import read_prompt
from glasshouse.feedback.label import check_known, check_label, dense_ranks, likeness, passes

RANKING = Campaign(name="c", kind="ranking")
RUBRIC = Campaign(name="c", kind="rating", rubric=(Criterion(name="helpful"), Criterion(name="safe", low=0, high=1)))
A, B, C = ranking_items(1)[0].answer_ids()


def ranked(value: Any) -> Any:
    return check_label(RANKING, ranking_items(1)[0], {"ranks": value})["ranks"]


def test_ranks_are_stored_in_the_order_of_the_answers() -> None:
    assert ranked({C: 1, A: 2, B: 3}) == [2, 3, 1]
    assert ranked([[B, 1], [A, 1], [C, 3]]) == [1, 1, 2]  # a tie; the gap behind it is closed
    assert ranked({A: 1, B: 1, C: 1}) == [1, 1, 1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[A, 1], [B, 2], [C, 3], [A, 3]], f"contradicts itself.*{A} at 1 and 3"),
        ({A: 1, B: 2}, f"leaves out {C}"),
        ({A: 1, B: 2, C: 3, "x": 4}, "no answer of this item is called x"),
        ({A: 1, B: 2, C: 4}, "no ranks, places are left empty: 1, 2, 4"),
        ({A: 2, B: 3, C: 4}, "places are left empty"),
        ({A: 0, B: 1, C: 2}, "whole numbers from 1"),
        ({A: 1.5, B: 1, C: 2}, "whole numbers from 1"),
        ({A: True, B: 2, C: 3}, "whole numbers from 1"),
        ({A: None, B: 2, C: 3}, "whole numbers from 1"),
        ("ABC", "maps each answer's id"),
        ([A, B, C], "maps each answer's id"),
    ],
)
def test_a_ranking_that_is_none_is_refused(value: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        ranked(value)


@pytest.mark.parametrize(
    ("campaign", "given", "message"),
    [
        (Campaign(name="c", kind="thumbs"), {"is_good": 1}, "true or false"),
        (Campaign(name="c", kind="thumbs"), {"is_good": True, "why": "x"}, 'has "is_good", perhaps "better"'),
        (Campaign(name="c", kind="thumbs"), {"is_good": False, "better": "q0-a0"}, "same text"),
        (Campaign(name="c", kind="edit"), {"text": "q0-a0"}, "same text"),
        (Campaign(name="c", kind="edit"), {"text": " \n"}, "not an empty one"),
        (Campaign(name="c", kind="edit"), {}, "got nothing"),
        (Campaign(name="c", kind="edit"), {"text": "x" * 200_001}, "200,001 characters"),
        (Campaign(name="c", kind="demonstration"), {"text": 3}, "is a text"),
        (Campaign(name="c", kind="demonstration"), ["x"], "a label is an object"),
        (RUBRIC, {"scores": {"helpful": 5}}, "one number for each of: helpful, safe"),
        (RUBRIC, {"scores": {"helpful": 6, "safe": 1}}, "from 1 to 5; got 6"),
        (RUBRIC, {"scores": {"helpful": 2.5, "safe": 1}}, "whole number"),
        (RUBRIC, {"scores": {"helpful": True, "safe": 1}}, "whole number"),
        (RUBRIC, {"ranks": {}}, 'a label of a rating campaign has "scores"'),
    ],
)
def test_other_labels_that_say_nothing_are_refused(campaign: Campaign, given: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        check_label(campaign, one_answer_items(1)[0], given)


def test_known_answers_must_be_labels_themselves() -> None:
    [item] = ranking_items(1)
    check_known(RANKING, Item(item.prompt, item.candidates, {"ranks": [1, 2, 2]}))
    for known in ({"ranks": [1, 2]}, {"ranks": [1, 5, 9]}, {"is_good": True}):
        with pytest.raises(LabelError):
            check_known(RANKING, Item(item.prompt, item.candidates, known))
    with pytest.raises(LabelError, match="free text"):
        check_known(Campaign(name="c", kind="demonstration"), Item(item.prompt, (), {"text": "x"}))


def test_a_test_question_is_passed_by_what_it_states() -> None:
    assert passes({"ranks": [1, 3, 2]}, {"ranks": [1, 2, 2]})
    assert not passes({"ranks": [1, 1, 2]}, {"ranks": [1, 2, 2]})
    assert passes({"scores": {"h": 4}}, {"scores": {"h": 5}}) and not passes({"scores": {"h": 3}}, {"scores": {"h": 5}})
    assert passes({"is_good": False, "better": "x"}, {"is_good": False})


def test_likeness_counts_pairs_put_in_the_same_order() -> None:
    assert likeness({"ranks": [1, 2, 3]}, {"ranks": [1, 3, 2]}) == pytest.approx(2 / 3)
    assert likeness({"ranks": [1, 1]}, {"ranks": [1, 2]}) == 0
    assert likeness({"scores": {"a": 1, "b": 2}}, {"scores": {"a": 1, "b": 3}}) == 0.5


def test_dense_ranks_close_the_gaps_behind_ties_only() -> None:
    assert (dense_ranks([1, 1, 3]), dense_ranks([2, 1, 2])) == ([1, 1, 2], [2, 1, 2])
    with pytest.raises(LabelError):
        dense_ranks([1, 3])


@pytest.mark.parametrize("prompt", [None, "", "  ", [], [{"role": "assistant", "content": "x"}], 3, "x" * 200_001])
def test_a_prompt_awaits_an_answer(prompt: Any) -> None:
    with pytest.raises(DataError):
        read_prompt(prompt)


def test_an_item_reads_what_it_writes() -> None:
    item = Item.from_json({"prompt": "q", "answers": ["x", {"text": "y", "model": "m"}], "known": {"ranks": [1, 2]}})
    assert Item.from_json(item.to_json()) == item
    with pytest.raises(DataError, match="list of texts"):
        Item.from_json({"prompt": "q", "answers": "x"})


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "a/b", "kind": "thumbs"},
        {"name": "a", "kind": "stars"},
        {"name": "a", "kind": "rating"},
        {"name": "a", "kind": "thumbs", "rubric": [{"name": "x"}]},
        {"name": "a", "kind": "rating", "rubric": [{"name": "x"}, {"name": "x"}]},
        {"name": "a", "kind": "rating", "rubric": [{"name": "x", "low": 0, "high": 11}]},
        {"name": "a", "kind": "thumbs", "overlap": 1.5},
        {"name": "a", "kind": "thumbs", "overlapp": 1},
    ],
)
def test_a_campaign_that_makes_no_sense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Campaign.model_validate(settings)
