"""PPO by hand: no other library's code is at hand to compare with, so each formula meets a case worked out on paper."""

import math

import pytest
import torch

from glasshouse.objective.ppo import (
    KLController,
    PPOConfig,
    advantages_and_returns,
    clipped_value_loss,
    ppo_loss,
    token_rewards,
    whiten,
)

MASK = torch.tensor([[False, True, True, True, False]])


def test_rewards_of_tokens() -> None:
    """-0.1 a nat at each of the answer's tokens, the reward at the last; nothing outside."""
    logp = torch.tensor([[9.0, -1.0, -2.0, -0.5, 9.0]])
    reference = torch.tensor([[0.0, -3.0, -1.0, -0.5, 0.0]])
    found = token_rewards(torch.tensor([2.0]), logp, reference, MASK, 0.1)
    torch.testing.assert_close(found, torch.tensor([[0.0, -0.2, 0.1, 2.0, 0.0]]))


def test_generalised_advantages() -> None:
    """discount 0.5, trace 0.5.  deltas: 1 + 0.5 * 4 - 2 = 1; 0 + 0.5 * 1 - 4 = -3.5; 3 - 1 = 2.
    A_3 = 2, A_2 = -3.5 + 0.25 * 2 = -3, A_1 = 1 + 0.25 * -3 = 0.25."""
    reward = torch.tensor([[7.0, 1.0, 0.0, 3.0, 7.0]])
    value = torch.tensor([[5.0, 2.0, 4.0, 1.0, 5.0]])
    advantage, returns = advantages_and_returns(reward, value, MASK, 0.5, 0.5)
    torch.testing.assert_close(advantage, torch.tensor([[0.0, 0.25, -3.0, 2.0, 0.0]]))
    torch.testing.assert_close(returns, torch.tensor([[0.0, 2.25, 1.0, 3.0, 0.0]]))


def test_full_trace_is_what_happened() -> None:
    """With discount and trace 1 the return is the sum of the rewards to come, whatever the values."""
    reward, value = torch.tensor([[0.0, 1.0, -2.0, 4.0, 0.0]]), torch.randn(1, 5)
    _, returns = advantages_and_returns(reward, value, MASK, 1.0, 1.0)
    torch.testing.assert_close(returns, torch.tensor([[0.0, 3.0, 2.0, 4.0, 0.0]]))


def test_whitening() -> None:
    x = torch.tensor([[50.0, 1.0, 2.0, 6.0, -50.0]])  # mean 3, deviation sqrt(14 / 3)
    deviation = math.sqrt(14 / 3)
    expected = torch.tensor([[0.0, -2 / deviation, -1 / deviation, 3 / deviation, 0.0]])
    torch.testing.assert_close(whiten(x, MASK), expected)
    torch.testing.assert_close(whiten(x, MASK, keeps_mean=True), (expected + 3) * MASK)


def test_value_may_not_run_away() -> None:
    """Old value 0, now 1, return 2, clip 0.2: near is 0.2, its error 1.8 squared; the worse of 1 and 3.24, halved."""
    one = torch.ones(1, 1)
    assert float(clipped_value_loss(one, 0 * one, 2 * one, 0.2)) == pytest.approx(1.62)
    assert float(clipped_value_loss(one, 0 * one, 2 * one, None)) == pytest.approx(0.5)


def test_loss() -> None:
    """Two tokens.  Ratio 1.5, advantage 2: held at 1.2, loss -2.4.  Ratio 0.5, advantage -1: held at 0.8, loss 0.8.
    Values 1 and 0 for returns of 0 and 1: 0.5 each, times 0.5."""
    ratio = torch.tensor([[1.5, 0.5, 3.0]])
    mask = torch.tensor([[True, True, False]])
    value, returns = torch.tensor([[1.0, 0.0, 9.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    output = ppo_loss(
        ratio.log(), value, torch.zeros(1, 3), value, torch.tensor([[2.0, -1.0, 5.0]]), returns, mask, PPOConfig()
    )
    assert float(output.loss_sum) == pytest.approx(-2.4 + 0.8 + 0.5 * (0.5 + 0.5))
    assert output.n_targets == 2
    found = {name: float(value) for name, value in output.metrics.items()}
    assert found == pytest.approx(
        {"ppo/policy_loss": -1.6, "ppo/value_loss": 1.0, "ppo/clipped": 2.0, "ppo/unknown_logp": 0.0}
    )


def test_controller_raises_the_price_of_distance() -> None:
    start = KLController(0.1, 2.0, 1000)
    assert start.after(2.2, 500).weight == pytest.approx(0.1 * (1 + 0.1 * 0.5))
    assert start.after(99.0, 500).weight == pytest.approx(0.1 * (1 + 0.2 * 0.5))  # at most a fifth
    assert start.after(0.0, 500).weight == pytest.approx(0.1 * (1 - 0.2 * 0.5))
    assert KLController(0.1, None, 1000).after(99.0, 500).weight == 0.1
    assert KLController.from_json(start.to_json()) == start
