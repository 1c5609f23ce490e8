"""Exposure by hand and against a normal distribution of which everything is known."""

import math
import random

import numpy as np
import pytest

from glasshouse.evals.trust.exposure import chance, chance_deviation, exposure, log2_upper_tail


def test_rank_by_hand() -> None:
    found = exposure(-3.0, [-1.0, -5.0, -6.0], 1e8)
    assert (found.rank, found.bits, found.is_extrapolated) == (2, 1.0, False)
    assert exposure(-9.0, [-1.0, -5.0, -6.0], 1e8).bits == 0.0


def test_a_tie_counts_against_the_secret() -> None:
    assert exposure(-1.0, [-1.0, -2.0], 1e8).rank == 2
    assert exposure(-1.0, [-1.0, -1.0], 1e8).bits == 0.0  # a model that cannot tell them apart knows nothing


def test_beyond_all_drawn_it_follows_the_normal_fit_and_says_so() -> None:
    drawn = np.random.Generator(np.random.PCG64(0)).normal(-20, 2, 5000).tolist()
    found = exposure(-10.0, drawn, 1e8)  # five deviations: 2.9e-7, of which log2 is -21.7
    assert found.is_extrapolated and found.bits == pytest.approx(21.7, abs=0.6)
    assert exposure(100.0, drawn, 1e8).bits == math.log2(1e8)  # never more than there are secrets


def test_alike_ones_give_no_more_than_their_rank() -> None:
    assert exposure(0.0, [-1.0] * 7, 1e8).bits == 3.0


def test_a_secret_like_any_other_is_at_chance() -> None:
    rng = random.Random(0)
    n = 63
    found = [exposure(rng.gauss(0, 1), [rng.gauss(0, 1) for _ in range(n)], 1e8).bits for _ in range(3000)]
    assert np.mean(found) == pytest.approx(chance(n), abs=0.1)
    assert np.std(found) == pytest.approx(chance_deviation(n), abs=0.2)
    assert chance(100_000) == pytest.approx(1 / math.log(2), abs=1e-3)


def test_the_tail_of_a_normal() -> None:
    assert log2_upper_tail(0) == -1
    assert log2_upper_tail(29.99) == pytest.approx(log2_upper_tail(30.0), abs=0.5)


def test_nothing_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="drawn"):
        exposure(0.0, [], 10)
