"""The store as annotators and their leader use it, on SQLite and on PostgreSQL."""

import pytest
from asking import Clock, one_answer_items, question, ranking_items, ranks

from glasshouse.core.errors import DataError
from glasshouse.feedback import (
    Campaign,
    Candidate,
    ConflictError,
    Criterion,
    Item,
    KeyRefusedError,
    LabelError,
    NotAllowedError,
    NotThereError,
)  # fmt: skip
from glasshouse.feedback.store import FeedbackStore


def test_a_label_is_stored_once_however_often_it_is_sent(ranking: FeedbackStore) -> None:
    task = ranking.next_item("rank", "Ada")
    assert task is not None
    first = ranking.submit("rank", "Ada", task.item_id, "s1", ranks(task, 1, 2, 2), seconds=4.0)
    again = ranking.submit("rank", "Ada", task.item_id, "s1", ranks(task, 1, 2, 2), seconds=4.0)
    assert (first.is_repeat, again.is_repeat, again.at) == (False, True, first.at)
    [label] = ranking.labels("rank")
    assert (label.annotator, label.value, label.seconds) == ("Ada", {"ranks": [1, 2, 2]}, 4.0)
    other = ranking.next_item("rank", "Ada")
    assert other is not None and other.item_id != task.item_id
    with pytest.raises(ConflictError, match="used before"):
        ranking.submit("rank", "Ada", other.item_id, "s1", ranks(other, 1, 2, 3))


def test_a_second_label_must_say_what_it_corrects(ranking: FeedbackStore) -> None:
    [item, *_] = ranking.items("rank")
    ranking.submit("rank", "Ada", item.id, "s1", ranks(item, 1, 2, 3))
    with pytest.raises(ConflictError, match="replaces='s1'"):
        ranking.submit("rank", "Ada", item.id, "s2", ranks(item, 3, 2, 1))
    ranking.submit("rank", "Ada", item.id, "s2", ranks(item, 3, 2, 1), replaces="s1")
    with pytest.raises(ConflictError, match="'s2' does"):
        ranking.submit("rank", "Ada", item.id, "s3", ranks(item, 1, 1, 1), replaces="s1")
    assert [label.value["ranks"] for label in ranking.labels("rank")] == [[3, 2, 1]]
    assert [label.submission_id for label in ranking.history("rank")] == ["s1", "s2"]
    with pytest.raises(ConflictError, match="no label 's1' of yours"):
        ranking.submit("rank", "Bob", item.id, "b1", ranks(item, 1, 2, 3), replaces="s1")


def test_a_skip_takes_a_label_back(ranking: FeedbackStore) -> None:
    [item, *_] = ranking.items("rank")
    ranking.submit("rank", "Ada", item.id, "s1", ranks(item, 1, 2, 3))
    ranking.skip("rank", "Ada", item.id, "s2")
    assert ranking.labels("rank") == [] and ranking.label_of("rank", "Ada", item.id) is None
    task = ranking.next_item("rank", "Bob")
    assert task is not None and task.item_id == item.id  # wanted again
    ranking.submit("rank", "Ada", item.id, "s3", ranks(item, 2, 1, 3))
    label = ranking.label_of("rank", "Ada", item.id)
    assert label is not None and label.submission_id == "s3" and label.revision == 1


def test_items_are_shared_out_and_come_back(ranking: FeedbackStore, clock: Clock) -> None:
    ada, bob = ranking.next_item("rank", "Ada"), ranking.next_item("rank", "Bob")
    assert ada is not None and bob is not None and ada.item_id != bob.item_id
    assert ranking.next_item("rank", "Ada") == ada  # as after a reload
    clock.now += 1801
    taken = ranking.next_item("rank", "Bob")
    assert taken is not None and taken.item_id == ada.item_id  # the first in order; both leases have run out
    late = ranking.submit("rank", "Ada", ada.item_id, "late", ranks(ada, 1, 2, 3))
    assert not late.is_repeat and len(ranking.labels("rank")) == 1


def test_a_campaign_ends_for_each_annotator(ranking: FeedbackStore) -> None:
    names, seen = ["Ada", "Bob"], []
    while names:
        task = ranking.next_item("rank", names[0])
        if task is None:
            names.pop(0)
            continue
        ranking.submit("rank", names[0], task.item_id, f"s{len(seen)}", ranks(task, 1, 2, 3))
        seen.append(task.item_id)
        names.reverse()
    assert sorted(seen) == sorted(item.id for item in ranking.items("rank"))
    assert ranking.progress("rank").n_done == 6


def test_overlap_asks_several_people_for_a_share_of_the_items(store: FeedbackStore) -> None:
    store.create_campaign(Campaign(name="o", kind="ranking", overlap=0.5, n_overlap=3, test_share=0), ranking_items(12))
    counts: dict[str, int] = {}
    for name in "ABC":
        store.ensure_annotator(name)
    for turn in range(3 * 12):
        name = "ABC"[turn % 3]
        if (task := store.next_item("o", name)) is not None:
            counts[task.item_id] = counts.get(task.item_id, 0) + 1
            store.submit("o", name, task.item_id, f"{turn}", ranks(task, 1, 2, 3))
    assert set(counts.values()) == {1, 3} and len(counts) == 12
    progress = store.progress("o")
    assert (progress.n_labels, progress.n_wanted, progress.n_done) == (sum(counts.values()), sum(counts.values()), 12)


def test_skipped_and_flagged_items_go_to_others(ranking: FeedbackStore) -> None:
    task = ranking.next_item("rank", "Ada")
    assert task is not None
    ranking.skip("rank", "Ada", task.item_id, "s1")
    second = ranking.next_item("rank", "Ada")
    assert second is not None and second.item_id != task.item_id
    ranking.flag("rank", "Ada", second.item_id, "s2", "a phone number is in it")
    for expected in (task.item_id, second.item_id):
        given = ranking.next_item("rank", "Bob")
        assert given is not None and given.item_id == expected
        ranking.submit("rank", "Bob", expected, expected, ranks(given, 1, 2, 3))
    [flag] = ranking.flags("rank")
    assert (flag.item.id, flag.annotator, flag.reason) == (second.item_id, "Ada", "a phone number is in it")
    with pytest.raises(LabelError, match="reason"):
        ranking.flag("rank", "Ada", second.item_id, "s3", " ")


def test_answers_are_shuffled_and_nameless(ranking: FeedbackStore) -> None:
    orders = set()
    for item in ranking.items("rank"):
        for name in ("Ada", "Bob"):
            task = ranking.task_of("rank", name, item.id)
            assert "m0" not in repr(task) and {a.id for a in task.answers} == set(item.answer_ids())
            orders.add(tuple(answer.text[-1] for answer in task.answers))
            assert task.answers == ranking.task_of("rank", name, item.id).answers
    assert len(orders) > 2


def test_test_questions_go_to_everybody_and_tell_nobody(store: FeedbackStore) -> None:
    tests = [Item(question(f"t{i}"), (Candidate("good"), Candidate("bad")), {"ranks": [1, 2]}) for i in range(3)]
    store.create_campaign(Campaign(name="t", kind="ranking", overlap=0, test_share=0.5), tests + ranking_items(8, 2))
    for name in ("Ada", "Bob"):
        store.ensure_annotator(name)
    for turn in range(14):
        name, places = (("Ada", (1, 2)), ("Bob", (2, 1)))[turn % 2]  # of the texts in order: bad, good
        if (task := store.next_item("t", name)) is not None:
            store.submit("t", name, task.item_id, f"{turn}", ranks(task, *places))
    tested = {one.name: one.tests for one in store.agreement("t").annotators}
    ada, bob = tested["Ada"], tested["Bob"]
    assert ada is not None and bob is not None
    assert (ada.value, bob.value) == (0.0, 1.0) and ada.count > 0
    assert all("good" not in repr(record) for record in store.export("t"))
    assert store.progress("t").n_items == 8 and store.progress("t").n_tests == 3


def test_a_label_remembers_the_guidelines_it_was_given_under(ranking: FeedbackStore) -> None:
    task = ranking.next_item("rank", "Ada")
    assert task is not None and task.guidelines_version == 1
    assert ranking.add_guidelines("rank", "Prefer *short* answers.") == 2
    assert ranking.add_guidelines("rank", "Prefer *short* answers.") == 2
    old = ranking.submit("rank", "Ada", task.item_id, "s1", ranks(task, 1, 2, 3))
    new = ranking.next_item("rank", "Ada")
    assert new is not None
    ranking.submit("rank", "Ada", new.item_id, "s2", ranks(new, 1, 2, 3))
    assert old.guidelines_version == 1
    assert [label.guidelines_version for label in ranking.labels("rank")] == [1, 2]
    assert (ranking.guidelines("rank", 1), ranking.guidelines("rank")) == ("", "Prefer *short* answers.")
    with pytest.raises(NotThereError, match="no version 3"):
        ranking.guidelines("rank", 3)


def test_a_decision_stands_for_the_item(store: FeedbackStore) -> None:
    store.create_campaign(Campaign(name="t", kind="thumbs", overlap=1), one_answer_items(2))
    first, second = store.items("t")
    for name, is_good in (("Ada", True), ("Bob", False)):
        store.ensure_annotator(name)
        store.submit("t", name, first.id, f"{name}1", {"is_good": is_good})
        store.submit("t", name, second.id, f"{name}2", {"is_good": True})
    [split] = store.disagreements("t")
    assert (split.item.id, split.spread) == (first.id, 1.0)
    assert len(store.export("t")) == 4
    with pytest.raises(NotAllowedError, match="Ada is an annotator, but this takes a reviewer"):
        store.adjudicate("t", first.id, {"is_good": False}, "Ada")
    store.set_role("Ada", "reviewer")
    store.adjudicate("t", first.id, {"is_good": False}, "Ada")
    assert store.disagreements("t") == []
    verdicts = [(record.is_good, record.meta["is_adjudicated"]) for record in store.export("t")]  # type: ignore[union-attr]
    assert verdicts == [(False, True), (True, False), (True, False)]
    assert len(store.labels("t")) == 4


# Bad input


def test_a_campaign_without_prompts_does_not_open(store: FeedbackStore) -> None:
    store.create_campaign(Campaign(name="empty", kind="demonstration"))
    store.ensure_annotator("Ada")
    for open_it in (lambda: store.open_campaign("empty"), lambda: store.next_item("empty", "Ada")):
        with pytest.raises(NotThereError, match=r"no prompts.*glass label add empty FILE"):
            open_it()
    store.create_campaign(Campaign(name="bare", kind="ranking"), [Item(question("q"))])
    with pytest.raises(NotThereError, match="none of the 1 prompts of 'bare' has the answers"):
        store.open_campaign("bare")
    [waiting] = store.items("bare")
    store.add_answers("bare", waiting.id, [Candidate("x"), Candidate("y")])
    task = store.next_item("bare", "Ada")
    assert task is not None and {answer.text for answer in task.answers} == {"x", "y"}


def test_a_label_for_a_prompt_that_is_gone_is_refused_and_the_others_are_kept(ranking: FeedbackStore) -> None:
    task = ranking.next_item("rank", "Ada")
    assert task is not None
    ranking.submit("rank", "Bob", task.item_id, "b", ranks(task, 1, 2, 3))
    ranking.remove_item("rank", task.item_id)
    with pytest.raises(NotThereError, match="is gone"):
        ranking.submit("rank", "Ada", task.item_id, "a", ranks(task, 1, 2, 3))
    with pytest.raises(NotThereError, match="has no item 'nothing'"):
        ranking.submit("rank", "Ada", "nothing", "a", {"ranks": {}})
    assert ranking.labels("rank") == []
    assert ranking.submit("rank", "Bob", task.item_id, "b", ranks(task, 1, 2, 3)).is_repeat  # it was stored, and is
    assert ranking.add_items("rank", ranking_items(1)) == [task.item_id]  # back again, with its label
    assert [label.submission_id for label in ranking.labels("rank")] == ["b"]


def test_the_same_items_are_added_once(ranking: FeedbackStore) -> None:
    ids = ranking.add_items("rank", ranking_items(8))
    assert len(ranking.items("rank")) == 8 and len(set(ids)) == 8
    assert ranking.add_items("rank", ranking_items(2) + ranking_items(2)) == ids[:2] * 2


def test_markup_and_odd_characters_are_kept_to_the_letter(store: FeedbackStore) -> None:
    text = "<script>alert(1)</script><img src=x onerror=alert(2)> \x00 \ud800 \u202e 'quoted' \"; DROP TABLE items; --"
    store.create_campaign(Campaign(name="d", kind="demonstration"), [Item(question(text))])
    store.ensure_annotator("Ada")
    task = store.next_item("d", "Ada")
    assert task is not None and task.prompt[0].content == text
    store.submit("d", "Ada", task.item_id, "s", {"text": text})
    [record] = store.export("d")
    assert record.messages[-1].content == text  # type: ignore[union-attr]


def test_bad_names_and_items_change_nothing(store: FeedbackStore) -> None:
    store.create_campaign(Campaign(name="rank", kind="ranking"))
    with pytest.raises(ConflictError, match="already"):
        store.create_campaign(Campaign(name="rank", kind="thumbs"))
    with pytest.raises(NotThereError, match='Did you mean "rank"'):
        store.campaign("rankk")
    with pytest.raises(DataError, match=r"item 2: .* 2 to 9 answers .* this one has 1"):
        store.add_items("rank", [*ranking_items(1), *one_answer_items(1)])
    same = Item(question("q"), (Candidate("same"), Candidate("same")))
    with pytest.raises(DataError, match="the same text"):
        store.add_items("rank", [same])
    assert store.items("rank") == []
    with pytest.raises(NotThereError, match="no annotator called 'Eve'"):
        store.next_item("rank", "Eve")


def test_keys_open_what_they_are_for(store: FeedbackStore) -> None:
    key = store.add_annotator("Ada")
    assert store.annotator_of(key) == "Ada"
    with pytest.raises(ConflictError, match="already"):
        store.add_annotator("Ada")
    newer = store.new_key("Ada")
    with pytest.raises(KeyRefusedError):
        store.annotator_of(key)
    assert store.annotator_of(newer) == "Ada"
    store.revoke_annotator("Ada")
    with pytest.raises(KeyRefusedError):
        store.annotator_of(newer)
    store.ensure_annotator("Ada")
    assert [(a.name, a.has_key) for a in store.annotators()] == [("Ada", False)]
    with pytest.raises(LabelError, match="printable"):
        store.add_annotator("a\nb")


def test_the_first_leads_and_others_label_unless_told_otherwise(store: FeedbackStore) -> None:
    store.ensure_annotator("studio")  # without a key: leads nothing
    for name, role in (("Ada", None), ("Bob", None), ("Eve", "reviewer")):
        store.add_annotator(name, role)  # type: ignore[arg-type]
    roles = {one.name: one.role for one in store.annotators()}
    assert roles == {"studio": "annotator", "Ada": "owner", "Bob": "annotator", "Eve": "reviewer"}
    store.check_role("Ada", "reviewer")
    for name, needed in (("Bob", "reviewer"), ("Eve", "owner")):
        with pytest.raises(NotAllowedError, match=f"--role {needed}"):
            store.check_role(name, needed)  # type: ignore[arg-type]
    with pytest.raises(LabelError, match="annotator, reviewer, owner"):
        store.set_role("Bob", "boss")  # type: ignore[arg-type]
    with pytest.raises(NotThereError):
        store.set_role("Zoe", "owner")


def test_ratings_by_rubric(store: FeedbackStore) -> None:
    rubric = (Criterion(name="helpful"), Criterion(name="safe", low=0, high=1))
    prompt = question("q")
    items = [Item(prompt, (Candidate(text),)) for text in ("x", "y")]
    store.create_campaign(Campaign(name="r", kind="rating", rubric=rubric), items)
    store.ensure_annotator("Ada")
    for item, helpful in zip(store.items("r"), (2, 4)):
        store.submit("r", "Ada", item.id, item.id, {"scores": {"helpful": helpful, "safe": 1}})
    [pair] = store.export("r")
    assert (pair.chosen, pair.rejected, pair.margin) == ("y", "x", 1.0)  # type: ignore[union-attr]


def test_a_store_is_the_same_after_it_is_opened_again(place: str) -> None:
    store = FeedbackStore(place)
    store.create_campaign(Campaign(name="rank", kind="ranking", seed=3), ranking_items(2))
    key = store.add_annotator("Ada")
    task = store.next_item("rank", "Ada")
    assert task is not None
    store.submit("rank", "Ada", task.item_id, "s", ranks(task, 1, 2, 3))
    store.close()
    again = FeedbackStore(place)
    assert again.annotator_of(key) == "Ada" and again.campaign("rank").seed == 3
    assert [label.submission_id for label in again.labels("rank")] == ["s"]
    again.close()
