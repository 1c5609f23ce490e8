import pytest

from glasshouse.report import units


@pytest.mark.parametrize(
    ("value", "expected"), [(0.934, "93 %"), (0.0, "0 %"), (1.0, "100 %"), (0.004, "0.4 %"), (0.996, "99.6 %")]
)
def test_shares_do_not_round_nearly_all_to_all(value: float, expected: str) -> None:
    assert units.format_share(value) == expected


def test_intervals() -> None:
    assert units.format_interval(0.91, 0.953, "share") == "91–95"
    assert units.format_interval(0.931, 0.935, "share") == "93.1–93.5"
    assert units.format_interval(0.912, 0.95, "bits/byte") == "0.912–0.95"


@pytest.mark.parametrize(
    ("joules", "expected"),
    [(3.21, "3.2 J"), (95, "95 J"), (720, "0.2 Wh"), (3600, "1.0 Wh"), (7.2e5, "200 Wh"), (7.2e6, "2 kWh")],
)
def test_energy(joules: float, expected: str) -> None:
    assert units.format_energy(joules) == expected


@pytest.mark.parametrize(("usd", "expected"), [(0, "$0"), (0.0007, "0.07 ¢"), (0.12, "12 ¢"), (1234.5, "$1,234.50")])
def test_money(usd: float, expected: str) -> None:
    assert units.format_money(usd) == expected


def test_work_and_plurals() -> None:
    assert units.format_flops(3.2e13) == "32 TFLOP" and units.format_flops(0) == "–"
    assert units.plural(1, "document") == "1 document" and units.plural(2000, "document") == "2,000 documents"
