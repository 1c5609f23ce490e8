import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshouse.core.errors import DataError
from glasshouse.core.records import Conversation, Message, Preference, Thumb
from glasshouse.explain import Example, ExampleIndex, example_of, index_examples
from glasshouse.explain import examples as module
from glasshouse.explain.examples import words_of

TEXTS = ["What does shutil.copytree do?", "Where is copytree?", "Which module has json_loads?", "Hello!", "hello hello"]


def examples(texts, stage="sft"):
    return [Example(stage, "stdlib:", f"e{n}", text, f"answer {n}") for n, text in enumerate(texts)]


def naive_scores(texts, question):
    """BM25 as the paper writes it, one sum an example."""
    bags = [Counter(words_of(text)) for text in texts]
    mean = sum(bag.total() for bag in bags) / len(bags)
    scores = []
    for bag in bags:
        score = 0.0
        for word in set(words_of(question)):
            n = sum(word in other for other in bags)
            rarity = math.log(1 + (len(bags) - n + 0.5) / (n + 0.5))
            score += rarity * bag[word] * 2.2 / (bag[word] + 1.2 * (0.25 + 0.75 * bag.total() / mean))
        scores.append(score)
    return scores


def test_words():
    assert words_of("Call `shutil.copy_tree`, don't: Größe 東京 x2!") == [
        "call", "shutil", "copy", "tree", "don't", "größe", "東京", "x2",
    ]  # fmt: skip


words = st.lists(st.sampled_from(["red", "green", "red's", "7", "ümlaut"]), min_size=1, max_size=8).map(" ".join)


@settings(max_examples=20, deadline=None)
@given(st.lists(words, min_size=1, max_size=8), words)
def test_scores_are_those_of_the_paper(tmp_path_factory, texts, question):
    made = examples(texts)
    index = index_examples(made, tmp_path_factory.mktemp("examples"))
    expected = naive_scores([e.text for e in made], question)
    found = index.nearest(question, n=100)
    assert sorted(near.score for near in found) == pytest.approx(sorted(s for s in expected if s > 0))
    assert [near.score for near in found] == sorted((near.score for near in found), reverse=True)
    for near in found:
        assert near.score == pytest.approx(expected[int(near.example.id[1:])])


def test_the_nearest_come_back_as_they_were_taught(tmp_path):
    index = index_examples(examples(TEXTS), tmp_path)
    assert [near.example.id for near in index.nearest("copytree of shutil?", 2)] == ["e0", "e1"]
    assert index.nearest("nothing shared") == [] and index.nearest("") == []
    assert ExampleIndex(tmp_path).nearest("LOADS")[0].example == examples(TEXTS)[2]


def test_no_example_at_all(tmp_path):
    assert index_examples([], tmp_path).nearest("anything") == []


def test_each_kind_of_record():
    asked = (Message("user", "Why?"),)
    conversation = Conversation((*asked, Message("assistant", "Because.")), "c")
    assert example_of(conversation, "sft", "f.jsonl") == Example("sft", "f.jsonl", "c", "Why?", "Because.")
    preference = Preference(asked, "good", "bad", "p")
    assert example_of(preference, "align", "f") == Example("align", "f", "p", "Why?", "good", "bad")
    up, down = Thumb(asked, "yes", True, "u"), Thumb(asked, "no", False, "d")
    assert example_of(up, "align", "f") == Example("align", "f", "u", "Why?", "yes")
    assert example_of(down, "align", "f") == Example("align", "f", "d", "Why?", "", "no")
    longer = Conversation((Message("system", "Be kind."), *conversation.messages))
    assert example_of(longer, "sft", "f").prompt == "system: Be kind.\nuser: Why?"


def test_what_was_taught_twice_is_told_once_and_the_number_is_bounded(tmp_path, monkeypatch):
    assert index_examples([*examples(["same"]), *examples(["same"])], tmp_path / "a").n_examples == 1
    monkeypatch.setattr(module, "MAX_EXAMPLES", 3)
    assert index_examples(examples(TEXTS), tmp_path / "b").n_examples == 3


def test_no_index_and_a_damaged_one(tmp_path):
    with pytest.raises(DataError, match=r"no index of examples .* glass index RUN"):
        ExampleIndex(tmp_path)
    index_examples(examples(TEXTS), tmp_path)
    (tmp_path / "examples.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="damaged"):
        ExampleIndex(tmp_path)
    index_examples(examples(TEXTS), tmp_path)
    (tmp_path / "postings.npz").write_bytes(b"cos\nsystem\n(S'true'\ntR.")  # a pickle is never loaded
    with pytest.raises(DataError, match="damaged"):
        ExampleIndex(tmp_path)
