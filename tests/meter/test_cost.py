import pytest
from pydantic import ValidationError

from glasshouse.meter import Cost, MeterConfig, price


def test_costs_add_in_every_unit() -> None:
    total = Cost(1, 2, 3, 4, 5, is_estimated=False) + Cost(10, 20, 30, 40, 50, is_estimated=False)
    assert total == Cost(11, 22, 33, 44, 55, is_estimated=False)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (Cost(joules=1, is_estimated=False), Cost(joules=1, is_estimated=True), True),
        (Cost(joules=1, is_estimated=False), Cost(), False),
        (Cost(), Cost(), True),
    ],
)
def test_a_sum_is_measured_only_when_all_its_energy_was(left: Cost, right: Cost, expected: bool) -> None:
    assert (left + right).is_estimated is expected
    assert (right + left).is_estimated is expected


def test_price_of_one_kilowatt_hour() -> None:
    cost = price(7, 8, 3.6e6, MeterConfig(usd_per_kwh=0.25, co2_g_per_kwh=100), is_estimated=False)
    assert cost == Cost(flops=7, seconds=8, joules=3.6e6, usd=0.25, co2_g=100, is_estimated=False)


def test_json_round_trip_survives_keys_of_a_later_version() -> None:
    cost = Cost(1, 2, 3, 4, 5, is_estimated=False)
    assert Cost.from_json({**cost.to_json(), "water_l": 3}) == cost
    assert Cost.from_json({"seconds": 2}) == Cost(seconds=2)


@pytest.mark.parametrize("values", [{"watts": 0}, {"watts": -5}, {"usd_per_kwh": -1}, {"co2_g_per_kwh": -1}])
def test_impossible_figures_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        MeterConfig(**values)
