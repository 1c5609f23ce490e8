import pytest

from glasshouse.meter import Meter, MeterConfig, meter, predict_cost


class Counter:
    def __init__(self, is_estimated: bool = False) -> None:
        self.name, self.is_estimated, self.value, self.n_reads = "measured: test", is_estimated, 50.0, 0

    def joules(self) -> float:
        self.n_reads += 1
        return self.value


def test_cost_so_far_grows_and_stop_freezes_it() -> None:
    counter = Counter()
    work = Meter(MeterConfig(usd_per_kwh=0.36, co2_g_per_kwh=360), sources=[counter]).start()
    counter.value += 1000
    work.add_flops(5)
    so_far = work.cost_so_far()
    assert (so_far.flops, so_far.joules) == (5, 1000)
    assert so_far.usd == pytest.approx(1e-4) and so_far.co2_g == pytest.approx(0.1)
    counter.value += 1
    final = work.stop()
    assert final.joules == 1001 and not final.is_estimated and final.seconds >= so_far.seconds > 0
    counter.value += 99
    assert work.cost_so_far() == final


def test_starting_again_begins_at_zero() -> None:
    counter = Counter()
    work = Meter(MeterConfig(), sources=[counter])
    with work:
        counter.value += 10
        work.add_flops(1)
    with work:
        counter.value += 3
    assert work.cost_so_far().joules == 3 and work.cost_so_far().flops == 0


def test_the_context_manager_stops_on_errors_too() -> None:
    work = Meter(MeterConfig(), sources=[Counter()])
    with pytest.raises(KeyError), work:
        raise KeyError
    assert work.cost_so_far().seconds == work.cost_so_far().seconds > 0


def test_one_estimated_source_makes_the_whole_an_estimate() -> None:
    with Meter(MeterConfig(), sources=[Counter(), Counter(is_estimated=True)]) as work:
        pass
    assert work.cost_so_far().is_estimated
    assert "+" in work.source


def test_counters_are_read_every_minute_so_that_none_wraps_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(meter.time, "perf_counter", lambda: now)
    counter = Counter()
    work = Meter(MeterConfig(), sources=[counter]).start()
    for _ in range(10):
        now += 1
        work.add_flops(1)
    assert counter.n_reads == 1
    now += 60
    work.add_flops(1)
    assert counter.n_reads == 2


def test_a_meter_never_started_costs_nothing() -> None:
    work = Meter(MeterConfig())
    assert work.cost_so_far().joules == 0 and work.cost_so_far().seconds == 0 and work.source == "not started"


def test_prediction_uses_the_constants_of_the_estimate() -> None:
    cost = predict_cost(1e12, 100, MeterConfig(), n_cores=2, utilisation=0.5)
    assert cost.joules == pytest.approx(1000) and cost.is_estimated and cost.flops == 1e12
    assert predict_cost(0, 100, MeterConfig(watts=7), n_cores=2).joules == pytest.approx(700)
    assert predict_cost(0, 100, MeterConfig(), n_cores=2, device="cuda").joules > 10 * cost.joules
