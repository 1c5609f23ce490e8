import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse.infer.blocks import ROOT, BlockPool, block_name


def test_names_tell_the_whole_text_before():
    first = block_name(ROOT, [1, 2])
    assert first == block_name(ROOT, [1, 2]) != block_name(ROOT, [2, 1])
    assert block_name(first, [3]) != block_name(ROOT, [3])


def test_a_free_block_is_found_until_its_memory_is_needed():
    pool = BlockPool(2)
    a, b = pool.take(), pool.take()
    pool.name(a, b"a")
    pool.release([a, b])
    assert pool.find([b"a", b"b"]) == [a] and pool.n_free == 2
    assert pool.take() == b  # the one without contents goes first
    assert pool.find([b"a"]) == [a]
    assert pool.take() == a and pool.find([b"a"]) == []


def test_the_longest_unused_goes_first_and_ends_before_beginnings():
    pool = BlockPool(4)
    old, new = [pool.take(), pool.take()], [pool.take(), pool.take()]
    for block in (*old, *new):
        pool.name(block, b"%d" % block)
    pool.release(old)
    pool.release(new)
    assert [pool.take() for _ in range(4)] == [old[1], old[0], new[1], new[0]]


def test_a_shared_block_is_free_when_the_last_lets_go():
    pool = BlockPool(1)
    block = pool.take()
    pool.share(block)
    pool.release([block])
    assert pool.n_free == 0
    pool.release([block])
    assert pool.n_free == 1
    with pytest.raises(KeyError):
        [pool.take(), pool.take()]


@given(st.lists(st.integers(0, 5), max_size=60))
def test_blocks_are_neither_lost_nor_given_twice(actions):
    pool, held = BlockPool(5), []
    for n, action in enumerate(actions):
        if action < 3 and pool.n_free:
            held.append(pool.take())
            pool.name(held[-1], b"%d" % (n % 7))
        elif action == 3 and held:
            pool.share(held[0])
            held.append(held[0])
        elif held:
            pool.release([held.pop()])
        assert pool.n_used == len(set(held))
    pool.release(held)
    assert pool.n_free == 5
