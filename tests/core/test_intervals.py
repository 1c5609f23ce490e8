import numpy as np
import pytest

from glasshouse.core.intervals import bootstrap_interval, proportion_intervals, rate_interval, wilson_interval


def test_an_interval_of_rates_is_wilsons_near_the_ends_and_resampled_between() -> None:
    assert rate_interval([1.0] * 20) == wilson_interval(20, 20)
    assert rate_interval([1.0] * 18 + [0.0] * 2) == wilson_interval(18, 20)
    mixed = [0.0, 0.5, 1.0] * 10
    assert rate_interval(mixed) == bootstrap_interval(mixed)


def test_an_interval_of_nothing_is_refused() -> None:
    for interval in (lambda: wilson_interval(0, 0), lambda: bootstrap_interval([])):
        with pytest.raises(ValueError):
            interval()


def test_bootstrap_agrees_with_the_normal_interval():
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = bootstrap_interval(values, seed=1, n_resamples=4000)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_bootstrap_covers_the_truth_about_95_times_in_100():
    generator = np.random.default_rng(3)
    hits = 0
    for trial in range(300):
        low, high = bootstrap_interval(generator.exponential(1.0, 80), seed=trial, n_resamples=300)
        hits += low <= 1.0 <= high
    assert 0.89 <= hits / 300 <= 0.98


def test_weighted_is_the_ratio_of_sums():
    # Every document has 2 bits a byte, whatever its length: there is nothing to be unsure of.
    weights = [1.0, 100.0, 3.0]
    assert bootstrap_interval([2 * w for w in weights], weights=weights) == pytest.approx((2.0, 2.0))


def test_the_seed_decides():
    values = list(range(50))
    assert (
        bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)
    )


def test_resampling_in_chunks_covers_all_resamples(monkeypatch):
    monkeypatch.setattr("glasshouse.core.intervals.CHUNK_COUNTS", 70)
    low, high = bootstrap_interval(np.arange(20.0), n_resamples=100)
    assert 4 < low < 9.5 < high < 15


@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(0, 20, 0.0, 0.1611), (20, 20, 0.8389, 1.0), (5, 10, 0.2366, 0.7634)]
)
def test_wilson(k, n, low, high):
    assert wilson_interval(k, n) == pytest.approx((low, high), abs=1e-4)


def test_a_proportion_at_the_edge_is_not_certain():
    never, always, half = proportion_intervals(
        np.array([[False, True, i % 2 == 0] for i in range(40)]), [str(i) for i in range(40)]
    )
    assert never == wilson_interval(0, 40) and always == wilson_interval(40, 40)
    assert 0.3 < half[0] < 0.5 < half[1] < 0.7


def test_phrasings_of_one_name_do_not_make_it_surer():
    truth = np.random.default_rng(0).random(60) < 0.6
    [once] = proportion_intervals(truth[:, None], [str(i) for i in range(60)])
    [fifty] = proportion_intervals(np.repeat(truth, 50)[:, None], [str(i) for i in range(60) for _ in range(50)])
    assert fifty == pytest.approx(once, abs=0.02)


def test_nothing_has_no_interval():
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match="at least one"):
        wilson_interval(0, 0)
