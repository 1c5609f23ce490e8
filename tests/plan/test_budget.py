import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.plan import DialConfig, parse_count, parse_duration
from glasshouse.plan.budget import Budget


def test_durations_and_counts_as_people_write_them() -> None:
    assert [parse_duration(t) for t in ("90s", "10m", "1h 30m", "1.5 h", "2d", "5min")] == [
        90,
        600,
        5400,
        5400,
        172800,
        300,
    ]
    assert [parse_count(t) for t in ("5M", "1.5B", "1e15", "200T", "300k", "12")] == [5e6, 1.5e9, 1e15, 2e14, 3e5, 12]


@pytest.mark.parametrize("text", ["", "ten minutes", "10", "-5m", "0s", "5m!"])
def test_odd_durations_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="time"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "big", "-5M", "0", "5X"])
def test_odd_counts_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="count"):
        parse_count(text)


def test_the_dial_has_one_knob() -> None:
    assert Budget.of(DialConfig(params="5M")) == Budget("params", 5e6)
    for dial in (DialConfig(), DialConfig(time="5m", flops="1e15")):
        with pytest.raises(ConfigError, match="exactly one"):
            Budget.of(dial)
