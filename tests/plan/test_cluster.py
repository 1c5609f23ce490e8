import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.meter import DeviceProfile
from glasshouse.model import PRESETS, count_parameters, flops_per_token
from glasshouse.plan import ClusterConfig, device_here, find_device, plan_for_cluster
from glasshouse.plan.cluster import USABLE_MEMORY, layouts
from glasshouse.plan.shape import shape_for

LLAMA_2_70B = PRESETS["llama-2-70b"]


def plan(device: str = "h100", model=None, **options):
    return plan_for_cluster(ClusterConfig(**options), find_device(device), model)


def test_time_is_spent_and_more_of_it_buys_a_lower_loss() -> None:
    week, month = plan(count=64, time="7d"), plan(count=64, time="30d")
    assert week.seconds == pytest.approx(7 * 86400, rel=0.02)
    assert count_parameters(month.model).total > count_parameters(week.model).total
    assert month.loss < week.loss
    assert week.loss_low < week.loss < week.loss_high


def test_money_is_spent_at_the_price_given() -> None:
    found = plan(count=64, usd=10_000)
    assert found.usd == pytest.approx(10_000, rel=0.02)
    assert found.device_hours == pytest.approx(10_000 / 2.69, rel=0.02)
    assert plan(count=64, usd=10_000, usd_per_hour=5.38).device_hours == pytest.approx(found.device_hours / 2, rel=0.02)


def test_flops_are_spent() -> None:
    found = plan(count=64, flops="1e21")
    assert found.tokens * flops_per_token(found.model, found.seq_len) == pytest.approx(1e21, rel=0.02)


def test_a_model_and_its_tokens_are_kept() -> None:
    found = plan("a100-80", LLAMA_2_70B, count=2048, tokens="2T", batch_tokens="4194304")
    assert (found.model, found.steps) == (LLAMA_2_70B, 476_837)
    assert found.layout.n_devices == 2048
    assert found.memory.total <= USABLE_MEMORY * 80e9


@pytest.mark.parametrize("wanted", ["1B", "7B", "70B"])
def test_a_size_asked_for_is_met(wanted: str) -> None:
    found = plan(count=256, params=wanted)
    assert count_parameters(found.model).total == pytest.approx(float(wanted[:-1]) * 1e9, rel=0.2)


def test_what_cannot_fit_says_what_would() -> None:
    with pytest.raises(ConfigError, match=r"cannot fit.*What would fit: 16 x a100-80; 8 x b200"):
        plan("a100-80", LLAMA_2_70B, count=8, tokens="1T")


def test_more_ranks_than_sequences_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most the sequences of a step"):
        plan(count=4096, params="1B", batch_tokens="64K")


@pytest.mark.parametrize(
    "options", [{}, {"time": "1d", "usd": 5}, {"tokens": "1T"}, {"time": "1d", "tokens": "1T"}], ids=str
)
def test_a_budget_is_one_thing(options: dict) -> None:
    with pytest.raises(ConfigError, match="exactly one"):
        plan(count=8, **options)


@pytest.mark.parametrize("is_tied", [False, True])
def test_a_pipeline_is_offered_whether_or_not_the_head_is_the_embedding(is_tied: bool) -> None:
    model = shape_for(1e9, 32_000, 2048).model_copy(update={"ties_embeddings": is_tied})
    found = {layout.pp for layout in layouts(model, 16, 8, 64, is_fp8=False)}
    assert {1, 2} <= found


def test_an_unknown_device_names_the_nearest_and_all() -> None:
    with pytest.raises(ConfigError, match=r"unknown device 'h10'.*h100.*Known: a100-40.*rtx-4090"):
        find_device("h10")


def test_this_machine_is_a_device_too() -> None:
    here = device_here(DeviceProfile("x", "cpu", 2, 24_000_000_000, 3e11, 1e10, 0.0, "2"), 20.0, 0.30)
    found = plan_for_cluster(ClusterConfig(time="1d", vocab_size=4096, seq_len=256, batch_tokens="8192"), here)
    assert found.seconds == pytest.approx(86400, rel=0.05)
    assert 1e6 < count_parameters(found.model).total < 1e8
