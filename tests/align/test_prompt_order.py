"""The order of prompts: everybody's turn comes, the settled are passed over, and it survives a file."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from glasshouse.align.prompt_order import PromptOrder, Turn


def settled_turn(n_prompts: int, settled: range) -> Turn:
    settled_P = np.zeros(n_prompts, np.bool_)
    settled_P[settled] = True
    return Turn(0, 0, settled_P)


def taken(order: PromptOrder, turn: Turn, n: int, times: int, skip_settled: float) -> list[int]:
    numbers: list[int] = []
    for _ in range(times):
        now, turn = order.take(turn, n, skip_settled)
        numbers += now
    return numbers


def test_everybody_once_then_all_again_in_another_order() -> None:
    order = PromptOrder(10, seed=3)
    numbers = taken(order, order.at(0), 4, 5, skip_settled=0.0)
    first, second = numbers[:10], numbers[10:]
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert taken(PromptOrder(10, seed=4), order.at(0), 10, 1, 0.0) != first


@pytest.mark.parametrize("n_asked", [0, 7, 10, 23])
def test_a_turn_can_be_found_by_counting(n_asked: int) -> None:
    order = PromptOrder(10, seed=0)
    assert order.take(order.at(n_asked), 5, 0.0)[0] == taken(order, order.at(0), 1, n_asked + 5, 0.0)[n_asked:]


@pytest.mark.parametrize("skip", [0.0, 0.3, 0.9])
def test_settled_are_passed_over_that_often(skip: float) -> None:
    """Half of 2,000 settled; four standard deviations."""
    order, turn = PromptOrder(2000, seed=1), settled_turn(2000, range(1000))
    counted: Counter[int] = Counter()
    while turn.epoch == 0:
        now, turn = order.take(turn, 1, skip)
        counted.update(now if turn.epoch == 0 else [])
    assert all(counted[number] == 1 for number in range(1000, 2000))
    n_settled = sum(counted[number] for number in range(1000))
    assert abs(n_settled - 1000 * (1 - skip)) <= 4 * (1000 * skip * (1 - skip)) ** 0.5


def test_where_all_are_settled_it_goes_on() -> None:
    assert len(taken(PromptOrder(3, seed=0), settled_turn(3, range(3)), 4, 3, 0.9)) == 12


def test_who_is_settled() -> None:
    """Right every time is; wrong every time, or now and then right, is not; what was settled may be forgotten."""
    turn = settled_turn(6, range(4, 6))
    reward_NG = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    after = turn.after([0, 1, 2, 4], reward_NG)
    assert after.settled_P.tolist() == [True, False, False, False, False, True]
    assert turn.settled_P.tolist() == [False] * 4 + [True] * 2


def test_alike_but_no_better_than_the_mean_is_not_settled() -> None:
    assert not Turn(0, 0, np.zeros(2, np.bool_)).after([0, 1], torch.full((2, 4), -1.0)).settled_P.any()


@pytest.mark.parametrize("n_prompts", [1, 8, 13])
def test_a_turn_survives_json(n_prompts: int) -> None:
    turn = Turn(2, n_prompts - 1, np.arange(n_prompts) % 3 == 0)
    read = Turn.from_json(json.loads(json.dumps(turn.to_json())))
    assert (read.epoch, read.place) == (2, n_prompts - 1)
    assert np.array_equal(read.settled_P, turn.settled_P)
