import pytest

from glasshouse.optim import SCHEDULES, ScheduleConfig, factor

GOLDEN = {
    # 10 steps, 2 of warm-up; worked by hand
    "wsd": [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25],
    "linear": [0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125],
    "cosine": [0.5, 1, 1, 0.961940, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.038060],
    "constant": [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1],
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_golden_values(kind):
    config = ScheduleConfig(kind=kind, warmup_steps=2, decay_fraction=0.4)
    assert [factor(step, 10, config) for step in range(10)] == pytest.approx(GOLDEN[kind], abs=1e-6)


@pytest.mark.parametrize("kind", ["wsd", "linear", "cosine"])
def test_final_factor_is_the_floor(kind):
    config = ScheduleConfig(kind=kind, warmup_steps=0, final_factor=0.1)
    values = [factor(step, 1000, config) for step in range(1001)]
    assert values[-1] == pytest.approx(0.1)
    assert min(values) == values[-1] and max(values) == 1.0


@pytest.mark.parametrize("kind", SCHEDULES)
def test_every_update_moves_and_none_exceeds_the_peak(kind):
    for n_steps in (1, 2, 7, 100):
        for warmup in (0, 1, 50):
            config = ScheduleConfig(kind=kind, warmup_steps=warmup)
            assert all(0 < factor(step, n_steps, config) <= 1 for step in range(n_steps))
