import pytest

from glasshouse.core.intervals import bootstrap_interval, rate_interval, wilson_interval


def test_an_interval_of_rates_is_wilsons_near_the_ends_and_resampled_between() -> None:
    assert rate_interval([1.0] * 20) == wilson_interval(20, 20)
    assert rate_interval([1.0] * 18 + [0.0] * 2) == wilson_interval(18, 20)
    mixed = [0.0, 0.5, 1.0] * 10
    assert rate_interval(mixed) == bootstrap_interval(mixed)


def test_an_interval_of_nothing_is_refused() -> None:
    for interval in (lambda: wilson_interval(0, 0), lambda: bootstrap_interval([])):
        with pytest.raises(ValueError):
            interval()
