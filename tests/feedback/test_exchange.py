"""Files of preferences in the forms people have them, and ours as others read them."""

import json
from pathlib import Path
from typing import Any

import pytest
from asking import question

from glasshouse.core.errors import DataError
from glasshouse.core.records import Conversation, Message, Preference, Ranking, Thumb
from glasshouse.feedback import (
    preferences_of,
    read_demonstrations,
    read_items,
    read_preferences,
    read_rankings,
    read_thumbs,
    write_preferences,
    write_records,
    write_thumbs,
)  # fmt: skip

PAIR = Preference(question("q"), "good", "bad")
TURN = [{"role": "user", "content": "q"}]
ANSWERS = {"chosen": "good", "rejected": "bad"}


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def written(folder: Path, *records: Any, name: str = "x.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "q", **ANSWERS},
        {"prompt": TURN, "chosen": said("good"), "rejected": said("bad")},
        {"prompt": TURN, "chosen": TURN + said("good"), "rejected": TURN + said("bad")},
        {"chosen": TURN + said("good"), "rejected": TURN + said("bad")},
        {"chosen": "\n\nHuman: q\n\nAssistant: good", "rejected": "\n\nHuman: q\n\nAssistant: bad"},
        {"instruction": "q", "input": "", **ANSWERS},
        {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "good"},
         "rejected": {"from": "gpt", "value": "bad"}},
    ],
)  # fmt: skip
def test_every_usual_form_is_the_same_preference(record: dict[str, Any], tmp_path: Path) -> None:
    [pair] = read_preferences(written(tmp_path, record))
    assert (pair.prompt, pair.chosen, pair.rejected) == (PAIR.prompt, PAIR.chosen, PAIR.rejected)
    [from_array] = read_preferences(written(tmp_path, json.dumps([record]), name="x.json"))
    assert from_array.prompt == PAIR.prompt and from_array.id == "x.json#1"


def test_context_is_part_of_the_prompt(tmp_path: Path) -> None:
    before = "\n\nHuman: a\n\nAssistant: b\n\nHuman: q\n\nAssistant:"
    path = written(
        tmp_path,
        {"chosen": before + " good", "rejected": before + " bad"},
        {"system": "s", "instruction": "q", "input": "i", "history": [["a", "b"]], "margin": 2, **ANSWERS},
    )
    dialogue, alpaca = read_preferences(path)
    assert [m.role for m in dialogue.prompt] == ["user", "assistant", "user"] and dialogue.chosen == "good"
    assert [m.content for m in alpaca.prompt] == ["s", "a", "b", "q\ni"] and alpaca.margin == 2


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"prompt": "q", "chosen": "same", "rejected": "same"}, "the same text"),
        ({"prompt": "q", "chosen": "good"}, '"rejected" is missing'),
        ({"prompt": "q", "rejected": "bad", "chosen": ""}, '"chosen" is missing or empty'),
        ({"prompt": "q", "chosen": " \n", "rejected": "bad"}, '"chosen" answer is empty'),
        ({"prompt": "q"}, '"chosen" is missing'),
        ({"prompt": "", **ANSWERS}, "prompt is empty"),
        ({"prompt": 3, **ANSWERS}, '"prompt" must be a text'),
        ({"prompt": TURN + said("x"), **ANSWERS}, "ends with the assistant's turn"),
        ({**ANSWERS}, 'without a "prompt"'),
        ({"chosen": TURN + said("a") + TURN + said("b"), "rejected": TURN + said("c") + TURN + said("d")},
         "part before their last turn"),
        ({"prompt": TURN, "chosen": TURN, "rejected": said("bad")}, "one turn of the assistant"),
        ({"prompt": [{"role": "wizard", "content": "q"}], **ANSWERS}, "'wizard'"),
        ({"prompt": "q", "margin": "much", **ANSWERS}, '"margin" is a number'),
        (["prompt"], "a record is an object; this is list"),
        ('{"prompt": "q", "chosen": ', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
    ],
)  # fmt: skip
def test_a_bad_record_is_left_out_and_reported_with_its_line(record: Any, reason: str, tmp_path: Path) -> None:
    problems: list[tuple[int, str]] = []
    good = {"prompt": "q", **ANSWERS}
    pairs = list(read_preferences(written(tmp_path, good, "", record, good), lambda *given: problems.append(given)))
    assert len(pairs) == 2
    [(line, found)] = problems
    assert line == 3 and reason in found


def test_a_file_without_one_good_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'not one usable preference in it.*1: a preference needs "chosen"'):
        list(read_preferences(written(tmp_path, {"prompt": "q"})))
    with pytest.raises(DataError, match="It is empty"):
        list(read_preferences(written(tmp_path)))
    with pytest.raises(DataError, match="No such file"):
        list(read_preferences(tmp_path / "none.jsonl"))


@pytest.mark.parametrize(
    ("name", "n_good", "n_bad"),
    [("hh-harmless-1500.jsonl", 1495, 5), ("dpo_en_demo.json", 300, 0), ("instructions-1100-preference.json", 1094, 6)],
)
def test_public_preferences_are_read(name: str, n_good: int, n_bad: int, shared_data: Path) -> None:
    problems: list[int] = []
    pairs = list(read_preferences(shared_data / "preference" / name, lambda line, _: problems.append(line)))
    assert (len(pairs), len(problems)) == (n_good, n_bad)
    assert all(pair.prompt[-1].role == "user" and pair.chosen != pair.rejected for pair in pairs)


def test_public_thumbs_are_read(shared_data: Path) -> None:
    thumbs = list(read_thumbs(shared_data / "preference" / "kto_en_demo.json"))
    assert len(thumbs) == 300 and {thumb.is_good for thumb in thumbs} == {True, False}


def test_thumbs_in_both_forms(tmp_path: Path) -> None:
    problems: list[int] = []
    path = written(
        tmp_path, {"prompt": "q", "completion": "a", "label": True}, {"messages": TURN + said("a"), "label": False},
        {"prompt": "q", "completion": "a"}, {"messages": TURN, "label": True},
        {"prompt": "q", "completion": " ", "label": 1},
    )  # fmt: skip
    thumbs = list(read_thumbs(path, lambda line, _: problems.append(line)))
    assert [(t.prompt, t.answer, t.is_good) for t in thumbs] == [
        (question("q"), "a", True),
        (question("q"), "a", False),
    ]
    assert problems == [3, 4, 5]


def test_rankings_and_their_pairs(tmp_path: Path) -> None:
    problems: list[str] = []
    path = written(
        tmp_path, {"prompt": "q", "answers": ["x", "y", "z"], "ranks": [1, 3, 1]},
        {"prompt": "q", "answers": ["x", "y"], "scores": [0.5, 2.5]}, {"prompt": "q", **ANSWERS},
        {"prompt": "q", "answers": ["x", "y", "x"], "ranks": [1, 2, 3]},
        {"prompt": "q", "answers": ["x", "y"], "ranks": [2, 3]}, {"prompt": "q", "answers": ["x", "y"], "ranks": [1]},
    )  # fmt: skip
    rankings = list(read_rankings(path, lambda _, reason: problems.append(reason)))
    assert [ranking.ranks for ranking in rankings] == [(1, 2, 1), (2, 1), (1, 2)]
    assert [(p.chosen, p.rejected) for p in preferences_of(rankings[0])] == [("x", "y"), ("z", "y")]
    assert "contradicts itself" in problems[0] and "no ranks" in problems[1] and "each of the 2" in problems[2]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    prompt = (Message("system", "s"), Message("user", "q\u2028<b>\U0001f600"))
    records = [Preference(prompt, "good", "bad", "p", 0.5, {"annotator": "Ada"}), Preference(prompt, "a", "b", "p2")]
    assert write_preferences(tmp_path / "p.jsonl", records) == 2
    assert list(read_preferences(tmp_path / "p.jsonl")) == records
    thumbs = [Thumb(prompt, "a", False, "t")]
    write_thumbs(tmp_path / "t.jsonl", thumbs)
    assert list(read_thumbs(tmp_path / "t.jsonl")) == thumbs
    rankings = [Ranking(prompt, ("x", "y"), (2, 1), "r", {"k": 1})]
    write_records(tmp_path / "r.jsonl", rankings)
    assert list(read_rankings(tmp_path / "r.jsonl")) == rankings
    conversations = [Conversation((*prompt, Message("assistant", "a")), "c")]
    write_records(tmp_path / "c.jsonl", conversations)
    assert list(read_demonstrations(tmp_path / "c.jsonl")) == conversations


def test_half_a_surrogate_pair_does_not_keep_the_rest_from_being_written(tmp_path: Path) -> None:
    write_preferences(tmp_path / "p.jsonl", [Preference(question("\ud800?"), "\ud83d\ude00", "x\x00")])
    [pair] = read_preferences(tmp_path / "p.jsonl")
    assert (pair.prompt[0].content, pair.chosen, pair.rejected) == ("\ufffd?", "\U0001f600", "x\x00")


@pytest.mark.slow  # trl takes ten seconds to import
def test_trl_takes_what_is_written(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl.data_utils")
    write_records(tmp_path / "x.jsonl", [PAIR, Thumb(question("q"), "a", True)])
    pair, thumb = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert trl.is_conversational(pair) and trl.is_conversational(thumb)
    halves = trl.unpair_preference_dataset
    datasets = pytest.importorskip("datasets")
    unpaired = halves(datasets.Dataset.from_list([pair]), desc=None)
    assert [(row["completion"][0]["content"], row["label"]) for row in unpaired] == [("good", True), ("bad", False)]
    assert set(thumb) == set(unpaired.column_names)


def test_prompts_of_a_campaign(tmp_path: Path) -> None:
    path = written(
        tmp_path, {"prompt": "q"}, {"question": "r", "answer": "4"}, {"prompt": TURN, "answers": ["x", "y"]}, {}
    )
    problems: list[int] = []
    items = list(read_items(path, lambda line, _: problems.append(line)))
    assert [(item.prompt[0].content, len(item.candidates)) for item in items] == [("q", 0), ("r", 0), ("q", 2)]
    assert problems == [4]
