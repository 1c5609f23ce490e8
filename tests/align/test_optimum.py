"""Where the best policy is known, both methods reach it (the full form: `benchmarks/toy_rewards.py`)."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from toy_rewards import toy


@pytest.mark.parametrize("method", ["grpo", "ppo"])
def test_reaches_the_analytic_optimum(tmp_path: Path, method: Any) -> None:
    found = toy(method, tmp_path, n_iterations=20, n_answers=128, lr=8e-3)
    assert 0.95 < found["share_of_optimum"] <= 1
    assert found["share_of_the_way"] > 0.85
