import numpy as np
import pytest

from glasshouse.core.errors import DataError
from glasshouse.plan import ScalingLaw, fit_scaling_law

LAW = ScalingLaw(e=0.6, a=20.0, alpha=0.35, b=60.0, beta=0.30)


def test_a_fit_finds_the_law_its_points_came_from() -> None:
    sizes = [(n, d) for n in (3e5, 1e6, 3e6, 1e7) for d in (1e6, 4e6, 2e7)]
    found = fit_scaling_law([(n, d, LAW.bits_per_byte(n, d)) for n, d in sizes])
    for n, d in [*sizes, (3e7, 1e8)]:
        assert found.bits_per_byte(n, d) == pytest.approx(LAW.bits_per_byte(n, d), rel=0.005)


def test_best_parameters_is_the_minimum_at_that_cost() -> None:
    flops = 1e15
    n_best = LAW.best_parameters(flops)
    losses = [LAW.bits_per_byte(n, flops / (6 * n)) for n in n_best * np.array([0.5, 0.9, 1.0, 1.1, 2.0])]
    assert min(losses) == losses[2]
    assert LAW.best_tokens(n_best) == pytest.approx(flops / (6 * n_best))


def test_too_few_points_are_refused() -> None:
    with pytest.raises(DataError, match="five unknowns"):
        fit_scaling_law([(1e6, 1e6, 2.0)] * 4)
