import pytest

from glasshouse.plan import devices, published
from glasshouse.plan.published import fit_constants, published_rows

ROWS = {(row.run, row.what): row for row in published_rows()}


def test_constants_in_use_are_those_that_their_rows_give() -> None:
    found = fit_constants()
    used = {name: getattr(devices, name) for name in found if name != "GOODPUT"} | {"GOODPUT": published.GOODPUT}
    assert used == pytest.approx(found, rel=0.01)


def test_every_constant_is_fitted_on_more_than_one_row_and_most_rows_are_checks() -> None:
    fitted = [speed.fits for speed in published.SPEEDS if speed.fits]
    assert all(fitted.count(name) >= 2 for name in fitted)
    assert sum(not row.is_fitted for row in ROWS.values()) > 2 * len(fitted)


@pytest.mark.parametrize(
    ("run", "what"),
    [
        ("Llama 2 70B, 2 T tokens", "A100-hours"),
        ("Llama 2 70B, 2 T tokens", "days on 6,000"),
        ("Llama 2 70B, 2 T tokens", "USD, at the table's price"),
        ("Llama 2 70B, 2 T tokens", "bytes of bf16 weights"),
        ("Llama 3.1 8B, 8 H100 500 W, eager", "tokens/s a device"),
        ("Llama 3.1 8B, 8 H100 500 W, compiled", "tokens/s a device"),
        ("Llama 3.1 70B, 256 H100 500 W, TP 8, fp8", "tokens/s a device"),
        ("Llama 3 405B, 16,384 H100, TP 8, PP 16", "tokens/s a device"),
        ("Llama 3.1 8B, 32 H200, fp8", "tokens/s a device"),
        ("GPT-2 124M, 8 A100, 10 B tokens in 90 min", "tokens/s a device"),
        ("GPT-2 124M, 8 H100, 10 B tokens in 45 min", "tokens/s a device"),
        ("Chinchilla, 5.76e23 FLOPs", "best parameters"),
        ("Chinchilla, 5.76e23 FLOPs", "best tokens"),
        ("Chinchilla, 5.76e23 FLOPs", "loss of 70 B after 1.4 T, nats"),
    ],
)
def test_rows_no_constant_was_fitted_on_are_met_within_a_fifth(run: str, what: str) -> None:
    row = ROWS[run, what]
    assert not row.is_fitted
    assert abs(row.error) < 0.20
