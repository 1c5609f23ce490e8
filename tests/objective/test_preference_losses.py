"""Cases small enough for a hand; that the losses equal TRL's is in tests/parity."""

import math

import pytest
import torch
from pydantic import ValidationError

from glasshouse.objective import DPOConfig, KTOConfig, Pair, RewardLossConfig, dpo_loss, kto_loss, reward_loss
from glasshouse.objective.kto import balanced_range

SAME = Pair(torch.tensor([-3.0, -7.0]), torch.tensor([-3.0, -9.0]))
LENGTHS = Pair(torch.tensor([2, 4]), torch.tensor([1, 8]))


@pytest.mark.parametrize(("kind", "p_flipped"), [("sigmoid", 0.0), ("sigmoid", 0.3), ("length_normalised", 0.0)])
def test_equal_log_probabilities_give_ln_2(kind, p_flipped):
    output = dpo_loss(SAME, SAME, LENGTHS, DPOConfig(kind=kind, p_flipped=p_flipped))
    assert float(output.loss_mean) == pytest.approx(math.log(2))
    assert output.n_targets == 2


def test_dpo_by_hand():
    """Chosen gains 4 nats in 2 tokens, rejected loses 6 in 3, on the reference."""
    policy, reference = (Pair(torch.tensor([a]), torch.tensor([b])) for a, b in ((-1.0, -8.0), (-5.0, -2.0)))
    lengths = Pair(torch.tensor([2]), torch.tensor([3]))

    def loss(**options):
        return float(dpo_loss(policy, reference, lengths, DPOConfig(beta=0.5, **options)).loss_sum)

    assert loss() == pytest.approx(math.log1p(math.exp(-0.5 * 10)))
    assert loss(p_flipped=0.1) == pytest.approx(
        0.9 * math.log1p(math.exp(-5)) + 0.1 * math.log1p(math.exp(5)), rel=1e-5
    )
    assert loss(kind="length_normalised") == pytest.approx(math.log1p(math.exp(-0.5 * (2 + 2))))
    assert loss(kind="ipo") == pytest.approx((4 - 1) ** 2)
    metrics = dpo_loss(policy, reference, lengths, DPOConfig(beta=0.5)).metrics
    assert {name: float(value) for name, value in metrics.items()} == {
        "dpo/accuracy": 1.0, "dpo/margin": 5.0, "dpo/reward_chosen": 2.0, "dpo/reward_rejected": -3.0,
    }  # fmt: skip


def test_ipo_takes_no_label_smoothing():
    with pytest.raises(ValidationError, match="p_flipped smooths a sigmoid"):
        DPOConfig(kind="ipo", p_flipped=0.1)


def kto(policy, reference, is_good, mismatched=(0.0,), **options):
    tensors = (torch.tensor(policy), torch.tensor(reference), torch.tensor(is_good), torch.tensor(mismatched))
    return kto_loss(*tensors, torch.zeros(len(mismatched)), KTOConfig(**options))


def test_kto_by_hand():
    assert float(kto([-3.0, -4.0], [-3.0, -4.0], [True, False]).loss_mean) == pytest.approx(0.5)
    # z = mean(3, -1) = 1; a good answer that gained 2 is worth 1, a bad one that lost 1 is worth 2
    output = kto([2.0, -1.0], [0.0, 0.0], [True, False], (3.0, -1.0), beta=1.0, good_weight=2.0)
    expected = 2 * (1 - 1 / (1 + math.exp(-1))) + (1 - 1 / (1 + math.exp(-2)))
    assert float(output.loss_sum) == pytest.approx(expected)
    # z is never below 0
    assert float(kto([2.0], [0.0], [True], (-9.0,), beta=1.0).loss_sum) == pytest.approx(1 - 1 / (1 + math.exp(-2)))


def test_no_gradient_flows_through_the_reference_point():
    policy, other = torch.tensor([1.0], requires_grad=True), torch.tensor([2.0], requires_grad=True)
    zero, is_good = torch.zeros(1), torch.tensor([True])
    kto_loss(policy, zero, is_good, other, zero, KTOConfig()).loss_sum.backward()
    assert policy.grad is not None and other.grad is None


def test_balance_of_good_and_bad():
    assert balanced_range(10, 30, 1.0) == (3.0, 4.0)


def test_reward_by_hand():
    score = Pair(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0]))
    output = reward_loss(score, RewardLossConfig())
    assert float(output.loss_sum) == pytest.approx(math.log1p(math.exp(-1)) + math.log(2))
    assert float(output.metrics["reward/accuracy"]) == 1.0  # equal scores are no right answer
    with_margin = reward_loss(score, RewardLossConfig(), margin_P=torch.tensor([1.0, 0.0]))
    assert float(with_margin.loss_mean) == pytest.approx(math.log(2))


def test_a_ranking_of_three_counts_once():
    """All of C(3, 2) pairs, a third each: with equal scores ln 2, as one pair."""
    zeros = torch.zeros(3)
    output = reward_loss(Pair(zeros, zeros), RewardLossConfig(), n_rankings=1, weight_P=torch.full((3,), 1 / 3))
    assert float(output.loss_mean) == pytest.approx(math.log(2)) and output.n_targets == 1
