import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshouse.core.errors import DataError
from glasshouse.core.native import build
from glasshouse.explain import suffix_array
from glasshouse.explain.suffix_array import sort_suffixes, sort_suffixes_by_numpy, why_slow

TEXTS = [[], [0], [5], [1, 0, 1, 0], [3] * 50, [0, 1] * 40, [2, 1, 0] * 30, list(range(60)), list(range(60, 0, -1))]


def naive(ids):
    return sorted(range(len(ids)), key=lambda i: ids[i:])


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize("ids", TEXTS, ids=lambda ids: f"{ids[:4]}x{len(ids)}")
def test_both_ways_sort_as_python_does(ids, dtype):
    given_ids = np.array(ids, dtype)
    assert sort_suffixes(given_ids, 61).tolist() == naive(ids)
    assert sort_suffixes_by_numpy(given_ids).tolist() == naive(ids)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 5), st.data(), st.integers(1, 4))
def test_tiny_alphabets_and_repeats(n_ids, data, n_times):
    ids = data.draw(st.lists(st.integers(0, n_ids - 1), max_size=60)) * n_times
    assert sort_suffixes(np.array(ids, np.uint16), n_ids).tolist() == naive(ids)
    assert sort_suffixes_by_numpy(np.array(ids, np.uint32)).tolist() == naive(ids)


def test_long_repeated_text_and_large_ids():
    rng = np.random.default_rng(1)
    ids = np.tile(rng.integers(0, 200_000, 1500), 40).astype(np.uint32)
    order = sort_suffixes(ids, 200_000)
    assert np.array_equal(order, sort_suffixes_by_numpy(ids))
    assert np.array_equal(np.sort(order), np.arange(len(ids)))


@pytest.mark.skipif(why_slow() is not None, reason="no C++ compiler here")
def test_the_compiled_way_is_the_one_taken(monkeypatch):
    monkeypatch.setattr(suffix_array, "sort_suffixes_by_numpy", None)
    assert sort_suffixes(np.array([1, 0, 1, 0], np.uint16), 2).tolist() == [3, 1, 2, 0]


def test_without_a_compiler_numpy_sorts_and_says_so(monkeypatch):
    monkeypatch.setattr(build, "COMPILERS", ("no-such-compiler",))
    for cached in (build.library, suffix_array._library, why_slow):
        cached.cache_clear()
    try:
        reason = why_slow()
        assert reason is not None and "no C++ compiler" in reason and "slower" in reason
        assert sort_suffixes(np.array([1, 0, 1, 0], np.uint16), 2).tolist() == [3, 1, 2, 0]
    finally:
        for cached in (build.library, suffix_array._library, why_slow):
            cached.cache_clear()


def test_ids_beyond_the_vocabulary_never_reach_c():
    with pytest.raises(DataError, match="ids go from 0 to 4; got 5"):
        sort_suffixes(np.array([1, 5], np.uint16), 5)
