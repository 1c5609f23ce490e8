from pathlib import Path

import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.plan import Rung, ScalingLaw, Step
from glasshouse.plan.ladder import check_sizes, fit_rungs, lay_out, predict_rung, read_fit

SIZES = {32: Step(150_000, 0.1), 64: Step(350_000, 0.2), 96: Step(600_000, 0.3)}
SHARES = (0.25, 0.5, 1.0)
LAW = ScalingLaw(e=0.9, a=25.0, alpha=0.30, b=80.0, beta=0.32)


def test_a_ladder_takes_the_time_it_is_given_and_ends_with_what_it_holds_out() -> None:
    rungs = lay_out(SIZES, 96, SHARES, 2048, seconds=2000)
    assert sum(rung.seconds for rung in rungs) == pytest.approx(2000, rel=0.02)
    assert [rung.width for rung in rungs if rung.is_held_out] == [96] == [rungs[-1].width]
    assert sorted(rung.width for rung in rungs[:-1]) == [32, 32, 32, 64, 64, 64]
    assert rungs[-1].tokens == max(rung.tokens for rung in rungs)


def test_a_time_too_short_says_what_is_not() -> None:
    with pytest.raises(ConfigError, match=r"--time \d+m"):
        lay_out(SIZES, 96, SHARES, 2048, seconds=20)


def test_rungs_of_one_law_foretell_the_next() -> None:
    rungs = lay_out(SIZES | {128: Step(900_000, 0.4)}, 128, SHARES, 2048, seconds=3000)
    found = predict_rung(
        fit_rungs([(rung, LAW.loss(rung.parameters, rung.tokens)) for rung in rungs], "planted"), rungs[-1]
    )
    assert found.loss == pytest.approx(LAW.loss(900_000, rungs[-1].tokens), rel=1e-3)
    assert found.low <= found.loss <= found.high


def test_the_held_out_size_is_never_fitted_on() -> None:
    rungs = lay_out(SIZES | {128: Step(900_000, 0.4)}, 128, SHARES, 2048, seconds=3000)
    losses = [(rung, 99.0 if rung.is_held_out else LAW.loss(rung.parameters, rung.tokens)) for rung in rungs]
    assert predict_rung(fit_rungs(losses, ""), rungs[-1]).loss < 10


@pytest.mark.parametrize(
    ("widths", "held_out", "shares", "message"),
    [
        ((32,), 64, SHARES, "two widths"),
        ((32, 64), 96, (1.0,), "two lengths"),
        ((32, 64), 64, SHARES, "among the widths"),
    ],
)
def test_a_ladder_that_proves_nothing_is_refused(widths, held_out: int, shares, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_sizes(widths, held_out, shares)


def test_a_folder_without_a_ladder_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no finished ladder.*glass ladder --out"):
        read_fit(tmp_path)


def test_a_rung_names_its_folder() -> None:
    assert Rung(64, 1, 100, 2048, 1.0).name == "64-wide-100-steps"
