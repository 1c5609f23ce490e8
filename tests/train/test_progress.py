"""Figures of the steps since the last record."""

import math

import pytest

from glasshouse.batch import Cursor
from glasshouse.meter import Cost
from glasshouse.train import TrainState
from glasshouse.train.progress import Interval, note


def test_quality_is_of_the_steps_that_were_taken_and_speed_of_all() -> None:
    interval = Interval(loss_sum=60.0, n_targets=30, n_bytes=120, n_tokens=40, flops=2e9, busy_s=0.5)
    assert interval.quality() == pytest.approx({"loss": 2.0, "bits_per_byte": 0.5 / math.log(2)})
    assert interval.speed(1e10) == pytest.approx({"tokens_per_s": 80.0, "share_of_peak": 0.4})


def test_nothing_is_said_of_losses_that_were_not_seen() -> None:
    assert Interval(n_tokens=40, flops=1.0, busy_s=1.0).quality() == {}
    assert "bits_per_byte" not in Interval(loss_sum=1.0, n_targets=1).quality()


def test_the_note_beside_the_bar() -> None:
    state = TrainState(step=1, cursor=Cursor(0, 0), loss=2.3451, bits_per_byte=1.2341)
    words = note(state, {"tokens_per_s": 12345.0, "share_of_peak": 0.67}, Cost(joules=890.0))
    assert words == "loss 2.345 · 1.234 bits/byte · 12,345 tok/s · 67 % of peak · 890 J (est.)"
    state.bits_per_byte = None
    assert note(state, {"tokens_per_s": 1.0, "share_of_peak": 0.0}, Cost()).startswith("loss 2.345 · 1 tok/s")
