"""Every answer of an index beside a plain search through the lists it was made from."""

import json
from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshouse.core.errors import DataError
from glasshouse.explain import TraceIndex, build_index
from glasshouse.explain import index as index_module
from glasshouse.explain.index import MANIFEST, UNFINISHED, Occurrences

from .corpora import shard_of


@pytest.fixture
def make_shard(tmp_path):
    made = iter(range(1000))
    return lambda documents, vocab_size=8: shard_of(tmp_path / f"{next(made)}.tokens", documents, vocab_size)


DOCUMENTS = [[1, 2, 3, 1, 2], [], [1, 2, 3, 4], [3], [2, 2, 2, 2]]


def flat(documents):
    """The ids of a shard: 0 before each document and at the end."""
    return [*chain.from_iterable([0, *ids] for ids in documents), 0]


def places(text, ids):
    return [i for i in range(len(text) - len(ids) + 1) if text[i : i + len(ids)] == list(ids)]


def longest(texts, ids):
    def reach(i):
        n = 0
        while i + n < len(ids) and any(places(text, ids[i : i + n + 1]) for text in texts):
            n += 1
        return n

    return [reach(i) for i in range(len(ids))]


def after_longest_end(texts, ids):
    """(ids of context, what followed)."""
    for start in range(len(ids) + 1):
        context = ids[start:]
        if any(places(text, context) for text in texts) or not context:
            n = len(context)
            follows = [text[i + n] for text in texts for i in places(text, context) if i + n < len(text)]
            return n, Counter(follows)
    raise AssertionError


corpora = st.lists(
    st.lists(st.lists(st.integers(1, 4), max_size=9), max_size=6), min_size=1, max_size=3
)  # shards of documents of ids
queries = st.lists(st.integers(0, 5), max_size=10)


@settings(max_examples=30, deadline=None)
@given(corpora, queries, st.integers(3, 30))
def test_counts_places_longest_matches_and_what_follows(tmp_path_factory, corpus, query, part_tokens):
    folder = tmp_path_factory.mktemp("index")
    shards = [shard_of(folder / f"{n}.tokens", documents) for n, documents in enumerate(corpus)]
    index = build_index(shards, folder / "index", part_tokens=part_tokens)
    texts = [flat(documents) for documents in corpus]
    assert index.n_tokens == sum(map(len, texts))
    assert index.longest(query).tolist() == longest(texts, query)
    spans = [(i, j) for i in range(len(query)) for j in range(i + 1, len(query) + 1)]
    for (i, j), found in zip(spans, index.occurrences(query, spans, n_places=100)):
        expected = [(n, at) for n, text in enumerate(texts) for at in places(text, query[i:j])]
        assert found.count == len(expected) and list(found.places) == expected
    n, followed = after_longest_end(texts, query)
    next_ids = index.next_tokens(query)
    if n:
        assert (next_ids.context, dict(followed)) == (n, {i: c for i, c in enumerate(next_ids.count_V) if c})
        assert next_ids.count == sum(len(places(text, query[len(query) - n :])) for text in texts)
    else:
        assert next_ids.count_V.tolist() == [sum(text.count(i) for text in texts) for i in range(8)]


def test_one_document_of_one_token_and_none_at_all(make_shard, tmp_path):
    single = build_index([make_shard([[3]])], tmp_path / "single")
    assert (single.count([3]), single.count([4]), single.count([0, 3, 0])) == (1, 0, 1)
    empty = build_index([make_shard([])], tmp_path / "empty")
    assert (empty.n_tokens, empty.count([3]), empty.longest([3, 0, 0]).tolist()) == (1, 0, [0, 1, 1])
    nothing = build_index([], tmp_path / "nothing")
    assert (nothing.n_tokens, nothing.longest([]).tolist()) == (0, [])


def test_no_ids_occur_everywhere_and_no_pattern_crosses_documents_unasked(make_shard, tmp_path):
    index = build_index([make_shard([[1, 2], [3, 4]])], tmp_path / "i")
    assert index.count([]) == index.n_tokens == 7
    assert index.contains([[2, 3], [2, 0, 3], [], [1, 2], [4, 1]]) == [False, True, True, True, False]
    assert index.contains([]) == []


def test_a_match_is_whole_where_parts_meet(make_shard, tmp_path):
    documents = [[1, 2, 3, 4, 5, 6, 7]] * 12
    index = build_index([make_shard(documents)], tmp_path / "i", part_tokens=20)
    assert len(index.parts) > 3
    assert index.count([1, 2, 3, 4, 5, 6, 7]) == 12
    assert index.count([7, 0]) == 12 and index.count([7, 0, 1]) == 11  # also across the edges of parts
    assert sum(part.stop - part.start for part in index.parts) == index.n_tokens


def test_four_bytes_a_token_and_eight_an_id(make_shard, tmp_path):
    index = build_index([make_shard([[1, 2, 3] * 5000])], tmp_path / "i")
    manifest = (tmp_path / "i" / MANIFEST).stat().st_size
    assert index.n_bytes == 4 * index.n_tokens + 8 * 8 + manifest


def test_larger_vocabularies_than_16_bits(make_shard, tmp_path):
    index = build_index([make_shard([[70_000, 1, 99_999], [1, 99_999]], 100_000)], tmp_path / "i")
    assert (index.count([1, 99_999]), index.count([70_000, 1])) == (2, 1)
    assert index.next_tokens([70_000, 1]).p(99_999) == 1


def test_thousands_of_places_give_the_count_and_some_of_them(make_shard, tmp_path, monkeypatch):
    monkeypatch.setattr(index_module, "MAX_LOOKED_AT", 10)
    index = build_index([make_shard([[1] * 100])], tmp_path / "i")
    found = index.occurrences([1, 1], [(0, 2)], n_places=3)[0]
    assert found.count == 99 and len(found.places) == 3 and found.places == tuple(sorted(found.places))


def test_a_part_that_was_sorted_before_an_interruption_is_kept(make_shard, tmp_path, monkeypatch):
    shard, sorted_parts = make_shard([[1, 2, 3, 4]] * 20), []

    def sort_and_stop(ids, n_ids):
        sorted_parts.append(len(ids))
        if len(sorted_parts) == 2:
            raise KeyboardInterrupt
        return real(ids, n_ids)

    real = index_module.sort_suffixes
    monkeypatch.setattr(index_module, "sort_suffixes", sort_and_stop)
    monkeypatch.setattr(index_module, "n_threads_asked", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        build_index([shard], tmp_path / "i", part_tokens=25)
    assert not (tmp_path / "i" / MANIFEST).exists() and (tmp_path / "i" / UNFINISHED).exists()
    with pytest.raises(DataError, match="was begun and not finished"):
        TraceIndex(tmp_path / "i", [shard])
    before = len(sorted_parts)
    index = build_index([shard], tmp_path / "i", part_tokens=25)
    assert len(sorted_parts) - before < len(index.parts)  # the first was there
    assert index.count([1, 2, 3, 4]) == 20
    assert not (tmp_path / "i" / UNFINISHED).exists()


def test_an_index_that_fits_is_not_built_again_and_another_corpus_replaces_it(make_shard, tmp_path, monkeypatch):
    first, second = make_shard([[1, 2]]), make_shard([[3, 4]])
    build_index([first], tmp_path / "i")
    with monkeypatch.context() as patch:
        patch.setattr(index_module, "sort_suffixes", None)
        assert build_index([first], tmp_path / "i").count([1, 2]) == 1
    assert build_index([second], tmp_path / "i").count([1, 2]) == 0


def test_the_index_of_another_corpus_is_refused(make_shard, tmp_path):
    first, second = make_shard([[1, 2]]), make_shard([[2, 1]])  # as long, other ids
    build_index([first], tmp_path / "i")
    with pytest.raises(DataError, match=r"index of another corpus .* hashes differ.* glass index RUN"):
        TraceIndex(tmp_path / "i", [second])
    with pytest.raises(DataError, match="another corpus"):
        TraceIndex(tmp_path / "i", [first, second])


def test_a_copied_corpus_is_the_same_corpus(make_shard, tmp_path):
    shard = make_shard([[1, 2]])
    build_index([shard], tmp_path / "i")
    copied = tmp_path / "elsewhere.tokens"
    copied.write_bytes(shard.path.read_bytes())
    assert TraceIndex(tmp_path / "i", [type(shard)(copied)]).count([1, 2]) == 1


def test_no_index_a_damaged_one_and_another_version(make_shard, tmp_path):
    shard, folder = make_shard(DOCUMENTS), tmp_path / "i"
    with pytest.raises(DataError, match=r"there is no index .* glass index RUN"):
        TraceIndex(folder, [shard])
    build_index([shard], folder)
    part = folder / "part-00000.order"
    part.write_bytes(part.read_bytes()[:-4])
    with pytest.raises(DataError, match="damaged or missing"):
        TraceIndex(folder, [shard]).count([1])
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "version": 99}))
    with pytest.raises(DataError, match="has version 99"):
        TraceIndex(folder, [shard])
    (folder / MANIFEST).write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        TraceIndex(folder, [shard])


def test_ids_of_another_tokenizer_and_shards_of_two(make_shard, tmp_path):
    index = build_index([make_shard(DOCUMENTS)], tmp_path / "i")
    with pytest.raises(DataError, match=r"ids go from 0 to 7.*tokenizer of the run"):
        index.longest([1, 8])
    with pytest.raises(DataError, match="one tokenizer"):
        build_index([make_shard([[1]]), make_shard([[1]], 9)], tmp_path / "j")


def test_no_place_is_looked_up_unless_asked(make_shard, tmp_path):
    index = build_index([make_shard(DOCUMENTS)], tmp_path / "i")
    assert index.occurrences([1, 2], [(0, 2)]) == [Occurrences(3, ())]


def test_random_text_of_a_real_size(make_shard, tmp_path):
    rng = np.random.default_rng(3)
    documents = [rng.integers(1, 8, 400).tolist() for _ in range(20)]
    index = build_index([make_shard(documents)], tmp_path / "i", part_tokens=3000)
    text = flat(documents)
    for _ in range(30):
        at, n = int(rng.integers(0, len(text) - 12)), int(rng.integers(1, 12))
        assert index.count(text[at : at + n]) == len(places(text, text[at : at + n]))
