import pytest

from glasshouse.serve import limits
from glasshouse.serve.limits import RateLimiter


def test_a_minutes_worth_at_once_then_one_by_one() -> None:
    limiter = RateLimiter(per_minute=6)
    assert [limiter.take("a", now=0.0) for _ in range(6)] == [0.0] * 6
    assert limiter.take("a", now=0.0) == pytest.approx(10)
    assert limiter.take("a", now=4.0) == pytest.approx(6)
    assert limiter.take("a", now=10.01) == 0
    assert limiter.take("a", now=10.01) > 9


def test_clients_do_not_share() -> None:
    limiter = RateLimiter(per_minute=1)
    assert limiter.take("a", now=0) == 0 and limiter.take("b", now=0) == 0
    assert limiter.take("a", now=1) > 0


def test_never_more_than_a_minutes_worth() -> None:
    limiter = RateLimiter(per_minute=2)
    limiter.take("a", now=0)
    assert [limiter.take("a", now=1e6) == 0 for _ in range(3)] == [True, True, False]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CLIENTS", 3)
    limiter = RateLimiter(per_minute=1)
    for client in "abcde":
        limiter.take(client, now=0)
    assert len(limiter._buckets) == 3
