import numpy as np
import pytest

from glasshouse.core.errors import DataError
from glasshouse.plan import CHINCHILLA, ScalingFit, ScalingLaw, fit_scaling_law
from glasshouse.plan.scaling import fit_with_draws

LAW = ScalingLaw(e=0.6, a=20.0, alpha=0.35, b=60.0, beta=0.30)
SIZES = [(n, d) for n in (3e5, 1e6, 3e6, 1e7) for d in (1e6, 4e6, 2e7)]


def points(noise: float = 0.0, seed: int = 0) -> list[tuple[float, float, float]]:
    errors = 1 + noise * np.random.default_rng(seed).standard_normal(len(SIZES))
    return [(n, d, LAW.loss(n, d) * e) for (n, d), e in zip(SIZES, errors)]


def test_a_fit_finds_the_constants_its_points_came_from() -> None:
    found = fit_scaling_law(points())
    assert [found.e, found.alpha, found.beta] == pytest.approx([0.6, 0.35, 0.30], rel=0.02)
    assert found.loss(3e7, 1e8) == pytest.approx(LAW.loss(3e7, 1e8), rel=1e-4)


def test_one_wild_point_moves_little() -> None:
    wild = [*points()[:-1], (*SIZES[-1], 2 * LAW.loss(*SIZES[-1]))]
    assert fit_scaling_law(wild).loss(3e7, 4e6) == pytest.approx(LAW.loss(3e7, 4e6), rel=0.01)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    where = (2e7, 2e7)
    fits = [fit_with_draws(points(0.01, seed), unit="", origin="", n_draws=60, seed=seed) for seed in range(12)]
    hits = [low <= LAW.loss(*where) <= high for low, high in (fit.interval(*where) for fit in fits)]
    assert sum(hits) >= 9
    assert all(fit.interval(*where)[0] < fit.law.loss(*where) < fit.interval(*where)[1] for fit in fits)


def test_a_fit_is_read_back() -> None:
    fit = fit_with_draws(points(0.01), unit="bits/byte", origin="planted", n_draws=5)
    assert ScalingFit.from_json(fit.to_json()) == fit


def test_best_parameters_is_the_minimum_at_that_cost() -> None:
    flops = 1e15
    n_best = LAW.best_parameters(flops)
    losses = [LAW.loss(n, flops / (6 * n)) for n in n_best * np.array([0.5, 0.9, 1.0, 1.1, 2.0])]
    assert min(losses) == losses[2]
    assert LAW.best_tokens(n_best) == pytest.approx(flops / (6 * n_best))


def test_chinchilla_s_constants_give_chinchilla() -> None:
    assert CHINCHILLA.law.best_parameters(5.76e23) == pytest.approx(70e9, rel=0.05)
    low, high = CHINCHILLA.interval(70e9, 1.4e12)
    assert low < CHINCHILLA.law.loss(70e9, 1.4e12) < high


def test_points_that_cannot_fix_a_law_are_refused() -> None:
    with pytest.raises(DataError, match="five unknowns"):
        fit_scaling_law([(1e6, 1e6, 2.0)] * 4)
    with pytest.raises(DataError, match="at least two sizes"):
        fit_scaling_law([(1e6, d, 2.0) for d in (1e6, 2e6, 3e6, 4e6, 5e6)])
