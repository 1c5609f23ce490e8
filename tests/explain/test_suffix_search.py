import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshouse.explain.suffix_array import sort_suffixes_by_numpy
from glasshouse.explain.suffix_search import MAX_WIDTH, SortedText

texts = st.lists(st.integers(0, 3), min_size=1, max_size=30)


def sorted_text(ids: list[int], n_first: int | None = None) -> SortedText:
    """Only the suffixes that begin among the first `n_first` are there, as in a part of a shard."""
    order = sort_suffixes_by_numpy(np.array(ids, np.uint16))
    return SortedText(np.array(ids, np.uint16), order[order < (n_first or len(ids))])


def begins(text, at, piece):
    return text[at : at + len(piece)] == piece


@settings(max_examples=60, deadline=None)
@given(texts, st.lists(st.integers(0, 4), min_size=1, max_size=8), st.data())
def test_ranges_longest_matches_and_what_follows(ids, query, data):
    n_first = data.draw(st.integers(1, len(ids)))
    text = sorted_text(ids, n_first)
    spans = [(i, j) for i in range(len(query)) for j in range(i, len(query) + 1)]
    starts, stops = (np.array(column) for column in zip(*spans))
    found = text.find(np.array(query), starts, stops - starts)
    for (i, j), low, high in zip(spans, found.low_R, found.high_R):
        piece = query[i:j]
        assert sorted(text.order_O[low:high].tolist()) == [at for at in range(n_first) if begins(ids, at, piece)]
        if high > low:
            after = [at + len(piece) for at in range(n_first) if begins(ids, at, piece)]
            follows = [ids[at] for at in after if at < len(ids)]
            assert text.following(int(low), int(high), len(piece), 5).tolist() == [follows.count(id) for id in range(5)]
    for i, n in enumerate(text.longest(np.array(query))):
        assert any(begins(ids, at, query[i : i + n]) for at in range(n_first))
        assert i + n == len(query) or not any(begins(ids, at, query[i : i + n + 1]) for at in range(n_first))


@pytest.mark.parametrize("n", [7, 8, 9, 255, MAX_WIDTH, 3 * MAX_WIDTH + 1])
def test_matches_longer_than_what_is_compared_at_once(n):
    rng = np.random.default_rng(n)
    passage = rng.integers(0, 9, n).tolist()
    ids = [*rng.integers(0, 9, 50).tolist(), *passage, 9, *rng.integers(0, 9, 50).tolist(), *passage, 8]
    query = np.array([*passage, 9, 9])
    text = sorted_text(ids)
    assert text.longest(query)[0] == n + 1
    found = text.find(query, np.array([0, 0]), np.array([n, n + 1]))
    assert (found.high_R - found.low_R).tolist() == [2, 1]


def test_nothing_to_search_in_and_nothing_to_search_for():
    empty = SortedText(np.zeros(0, np.uint16), np.zeros(0, np.int32))
    assert empty.longest(np.array([1, 2])).tolist() == [0, 0]
    assert sorted_text([1]).longest(np.zeros(0, np.int64)).tolist() == []
