"""Labels as training reads them, and labels that were given elsewhere."""

from pathlib import Path

import pytest
from asking import one_answer_items, question, ranking_items, ranks

from glasshouse.core.records import Conversation, Message, Preference, Ranking, Thumb
from glasshouse.feedback import Campaign, Item, LabelError
from glasshouse.feedback.store import FeedbackStore


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "labels.db")


def test_each_kind_is_exported_as_what_it_teaches(store: FeedbackStore) -> None:
    store.ensure_annotator("Ada")
    store.create_campaign(Campaign(name="d", kind="demonstration"), [Item(question("q"))])
    store.create_campaign(Campaign(name="e", kind="edit"), one_answer_items(1))
    store.create_campaign(Campaign(name="t", kind="thumbs"), one_answer_items(1))
    store.create_campaign(Campaign(name="r", kind="ranking"), ranking_items(1))
    values = {"d": {"text": "answer"}, "e": {"text": "better"}, "t": {"is_good": False, "better": "so"},
              "r": ranks(store.items("r")[0], 2, 1, 2)}  # fmt: skip
    for name, value in values.items():
        [item] = store.items(name)
        store.submit(name, "Ada", item.id, name, value)
    [told] = store.export("d")
    assert isinstance(told, Conversation) and told.messages == (*question("q"), Message("assistant", "answer"))
    assert told.meta["annotator"] == "Ada" and told.meta["guidelines_version"] == 1
    [edited] = store.export("e")
    assert isinstance(edited, Preference) and (edited.chosen, edited.rejected) == ("better", "q0-a0")
    thumb, better = store.export("t")
    assert isinstance(thumb, Thumb) and not thumb.is_good and thumb.meta["models"] == ["m0"]
    assert isinstance(better, Preference) and (better.chosen, better.rejected) == ("so", "q0-a0")
    [ranking] = store.export("r")
    assert isinstance(ranking, Ranking) and ranking.ranks == (2, 1, 2)


def test_what_is_exported_is_imported_once(store: FeedbackStore) -> None:
    store.create_campaign(Campaign(name="r", kind="ranking"))
    records = [Ranking(question("q"), ("z", "x", "y"), (1, 2, 3)), Preference(question("p"), "good", "bad")]
    first = store.import_records("r", records, "elsewhere")
    again = store.import_records("r", records, "elsewhere")
    assert (first.n_items, first.n_labels, first.n_repeats, first.n_refused) == (2, 2, 0, 0)
    assert (again.n_items, again.n_labels, again.n_repeats) == (0, 0, 2)
    by_answer = [dict(zip(r.answers, r.ranks)) for r in store.export("r") if isinstance(r, Ranking)]
    assert by_answer == [{"z": 1, "x": 2, "y": 3}, {"good": 1, "bad": 2}]
    store.create_campaign(Campaign(name="copy", kind="ranking"))
    store.import_records("copy", store.export("r"), "elsewhere")
    assert len(store.labels("copy")) == 2


def test_records_that_contradict_one_another_are_refused(store: FeedbackStore) -> None:
    store.create_campaign(Campaign(name="r", kind="ranking"))
    records = [
        Preference(question("q"), "x", "y"), Preference(question("q"), "y", "x"),
        Ranking(question("q"), ("x", "y"), (1, 3)), Ranking(question("q"), ("x", "x"), (1, 2)),
        Thumb(question("q"), "x", True), Preference(question("r"), "x", "y"),
    ]  # fmt: skip
    problems: dict[int, str] = {}
    done = store.import_records("r", records, "Ada", problems.__setitem__)
    assert (done.n_labels, done.n_refused) == (2, 4) and list(problems) == [2, 3, 4, 5]
    assert "contradict one another" in problems[2] and "places are left empty" in problems[3]
    assert "the same text" in problems[4] and "a Thumb is no label of a ranking campaign" in problems[5]
    assert store.import_records("r", records[1:2], "Bob").n_labels == 1  # another person may see it the other way round


def test_other_kinds_are_imported(store: FeedbackStore) -> None:
    given = {
        "thumbs": Thumb(question("q"), "a", False), "edit": Preference(question("q"), "better", "worse"),
        "demonstration": Conversation((*question("q"), Message("assistant", "a"))),
    }  # fmt: skip
    for kind, record in given.items():
        store.create_campaign(Campaign.model_validate({"name": kind, "kind": kind}))
        assert store.import_records(kind, [record], "Ada").n_labels == 1
        [back] = store.export(kind)
        assert type(back) is type(record) and back.meta["annotator"] == "Ada"


def test_identical_texts_are_no_edit(store: FeedbackStore) -> None:
    store.create_campaign(Campaign(name="e", kind="edit"))
    problems: dict[int, str] = {}
    store.import_records("e", [Preference(question("q"), "same", "same")], "Ada", problems.__setitem__)
    assert "same text" in problems[1] and store.labels("e") == []
    with pytest.raises(LabelError):
        store.add_annotator("")
