import time

import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.meter import DeviceProfile, MeterConfig
from glasshouse.model import ModelConfig, count_parameters, flops_per_token
from glasshouse.plan import DialConfig, Measured, Workload, plan_for_budget, shape_for

PROFILE = DeviceProfile("test", "cpu", 2, 24_000_000_000, 3e11, 1e10, time.time(), "2")
WORK = Workload(("pretrain", "sft"), {"pretrain": 8192, "sft": 8192}, vocab_size=4096, max_seq_len=256)


def seconds_at_half_peak(model: ModelConfig, stage: str) -> float:
    return 8192 * flops_per_token(model, 256) / 1.5e11


def measured(overhead_s: float = 60.0) -> Measured:
    return Measured(PROFILE, 14e6, 3.4, seconds_at_half_peak, {"corpus": overhead_s})


def plan(dial: DialConfig, work: Workload = WORK, overhead_s: float = 60.0):
    return plan_for_budget(dial, work, measured(overhead_s), MeterConfig())


@pytest.mark.parametrize("minutes", [4, 10, 60])
def test_a_time_budget_is_spent_and_not_overspent(minutes: int) -> None:
    found = plan(DialConfig(time=f"{minutes}m"))
    assert found.seconds == pytest.approx(60 * minutes, rel=0.03)


def test_more_time_buys_a_larger_model_and_a_lower_loss() -> None:
    short, long = plan(DialConfig(time="4m")), plan(DialConfig(time="4h"))
    assert count_parameters(long.model).total > count_parameters(short.model).total
    assert long.bits_per_byte < short.bits_per_byte


def test_the_share_of_pretraining_is_kept() -> None:
    stages = plan(DialConfig(time="10m", pretrain_share=0.25)).stages
    assert stages["pretrain"].seconds / (stages["pretrain"].seconds + stages["sft"].seconds) == pytest.approx(
        0.25, abs=0.02
    )


def test_flops_are_spent() -> None:
    found = plan(DialConfig(flops="1e14"))
    assert sum(s.cost.flops for s in found.stages.values()) == pytest.approx(1e14, rel=0.05)


def test_a_given_shape_and_given_steps_are_kept() -> None:
    model = shape_for(1e6, 4096, 256)
    work = Workload(("pretrain",), {"pretrain": 8192}, 4096, 256, model=model, steps={"pretrain": 77})
    found = plan(DialConfig(time="10m"), work)
    assert (found.model, found.stages["pretrain"].steps) == (model, 77)


def test_a_budget_that_buys_nothing_says_what_would() -> None:
    with pytest.raises(ConfigError, match=r"too short.*--time \d+m"):
        plan(DialConfig(time="1m"))
    with pytest.raises(ConfigError, match="too few"):
        plan(DialConfig(flops="1e9"))


def test_a_text_read_too_often_is_noted() -> None:
    assert any("times over" in note for note in plan(DialConfig(time="30h")).notes)
    assert not plan(DialConfig(time="10m")).notes


@pytest.mark.parametrize("n_parameters", [3e5, 2.5e6, 1e7, 1.2e8, 1e9, 7e9])
def test_shapes_come_near_the_size_asked_for(n_parameters: float) -> None:
    vocab_size = 4096 if n_parameters < 1e8 else 32768
    config = shape_for(n_parameters, vocab_size, 256)
    assert 1 / 1.6 < count_parameters(config).total / n_parameters < 1.6
    assert config.n_heads * config.d_head == config.d_model
