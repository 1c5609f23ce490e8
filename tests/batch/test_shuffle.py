from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse.batch import shuffle


@given(st.integers(1, 600), st.integers(0, 2**40))
def test_feistel_is_a_permutation(n, seed):
    order = shuffle.feistel(seed, n)
    assert sorted(map(order, range(n))) == list(range(n))


def test_feistel_mixes():
    order = [shuffle.feistel(7, 1000)(i) for i in range(1000)]
    assert sum(abs(a - b) == 1 for a, b in pairwise(order)) < 20  # neighbours are parted
    assert sum(a == i for i, a in enumerate(order)) < 10
    assert order != [shuffle.feistel(8, 1000)(i) for i in range(1000)]


def test_feistel_refuses_indices_outside():
    with pytest.raises(IndexError):
        shuffle.feistel(1, 10)(10)


def test_epochs_differ_and_repeat():
    first, second = ([shuffle.shuffled(3, e, 50)(i) for i in range(50)] for e in (0, 1))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    shuffle.shuffled.cache_clear()
    assert [shuffle.shuffled(3, 0, 50)(i) for i in range(50)] == first


def test_large_orders_need_no_memory(monkeypatch):
    monkeypatch.setattr(shuffle, "MATERIAL_LIMIT", 10)
    shuffle.shuffled.cache_clear()
    assert sorted(shuffle.shuffled(1, 0, 64)(i) for i in range(64)) == list(range(64))
    shuffle.shuffled.cache_clear()
