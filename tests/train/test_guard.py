import json
import math

import pytest

from glasshouse.train import GuardConfig
from glasshouse.train.guard import LossGuard

CONFIG = GuardConfig(warmup_steps=10, patience=3)


def guard_after(losses):
    guard = LossGuard(CONFIG)
    for loss in losses:
        assert guard.judge(loss, 1.0, 100) == "good"
    return guard


NOISY = [3.0 + 0.2 * math.sin(7 * i) for i in range(200)]


def test_a_noisy_falling_loss_is_good():
    guard_after([10 * math.exp(-i / 30) + 0.3 * math.sin(5 * i) + 0.5 for i in range(300)])


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (3.0, math.nan), (3.0, math.inf)])
def test_not_finite(loss, norm):
    assert guard_after(NOISY).judge(loss, norm, 100) == "not finite"
    assert LossGuard(CONFIG).judge(loss, norm, 100) == "not finite"  # from the first step on


def test_spikes_are_called_after_the_warm_up_only():
    assert guard_after(NOISY).judge(9.0, 1.0, 100) == "spike"
    assert guard_after(NOISY).judge(3.9, 1.0, 100) == "good"
    assert LossGuard(CONFIG).judge(9.0, 1.0, 100) == "good"


def test_a_small_jump_from_a_tiny_loss_is_no_spike():
    guard = guard_after([0.01 + 1e-5 * (i % 3) for i in range(100)])
    assert guard.judge(0.5, 1.0, 100) == "good"


def test_lost_after_several_in_a_row():
    guard = guard_after(NOISY)
    mean = guard.mean
    for n in (1, 2):
        guard.judge(math.nan, 1.0, 100)
        assert guard.n_bad_in_a_row == n and not guard.is_lost
    guard.judge(3.0, 1.0, 100)
    assert guard.n_bad_in_a_row == 0
    for _ in range(3):
        guard.judge(99.0, 1.0, 100)
    assert guard.is_lost and guard.n_skipped == 5
    assert guard.mean == pytest.approx(mean, abs=0.1)  # bad losses are not remembered


def test_its_state_survives_json_exactly():
    guard = guard_after(NOISY)
    other = LossGuard(CONFIG)
    other.load_state(json.loads(json.dumps(guard.state())))
    assert other == guard


def test_a_mean_over_few_targets_may_stray_further():
    assert guard_after(NOISY).judge(6.0, 1.0, 100) == "spike"
    assert guard_after(NOISY).judge(6.0, 1.0, 4) == "good"
    assert guard_after(NOISY).judge(99.0, 1.0, 4) == "spike"
    assert guard_after(NOISY).judge(6.0, 1.0, 10_000) == "spike"  # never narrower
