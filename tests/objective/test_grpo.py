"""GRPO by hand; against TRL's code: `parity/test_trl_grpo.py`."""

import pytest
import torch
from torch import Tensor

from glasshouse.objective.grpo import GRPOConfig, group_advantages, grpo_loss, kl_estimate, ratio_of, row_weights

MAX_TOKENS = 9


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """Two groups of answers of different lengths; ratios far enough from 1 that both clips act."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    lengths = torch.tensor([9, 1, 4, 7, 2, 9, 5, 3])
    logp = -normal(8, MAX_TOKENS).abs()
    return {
        "logp": logp,
        "sampled": logp + 0.3 * normal(8, MAX_TOKENS),
        "reference": logp + 0.5 * normal(8, MAX_TOKENS),
        "mask": torch.arange(MAX_TOKENS) < lengths[:, None],
        "reward": normal(8),
    }


def test_advantages_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0]])
    torch.testing.assert_close(group_advantages(rewards, False)[0], torch.tensor([0.75, -0.25, -0.25, -0.25]))
    torch.testing.assert_close(group_advantages(rewards, True)[0, 0], torch.tensor(0.75 / (0.5 + 1e-4)))
    assert group_advantages(rewards, True)[1].abs().max() == 0  # all alike: nothing to learn, and no 0 / 0


def test_clip_higher_by_hand() -> None:
    """A ratio of 1.25 with advantage 1: held at 1.2, but free to rise to 1.28 where the upper clip is higher."""
    one = torch.ones(1, 1)
    losses = [
        grpo_loss(torch.log(1.25 * one), 0 * one, one, one.bool(), torch.ones(1), GRPOConfig(clip_high=high))
        for high in (None, 0.28)
    ]
    assert [float(o.loss_sum) for o in losses] == pytest.approx([-1.2, -1.25])
    assert [float(o.metrics["grpo/clipped"]) for o in losses] == [1, 0]


def test_microbatches_add_up(tensors: dict[str, Tensor]) -> None:
    config = GRPOConfig(normalisation="sequence")
    weight = row_weights(tensors["mask"].sum(1), "sequence", MAX_TOKENS)
    advantage = tensors["reward"][:, None].expand_as(tensors["logp"])

    def loss(part: slice) -> Tensor:
        given = (t[part] for t in (tensors["logp"], tensors["sampled"], advantage, tensors["mask"], weight))
        return grpo_loss(*given, config).loss_sum

    torch.testing.assert_close(loss(slice(0, 3)) + loss(slice(3, 8)), loss(slice(0, 8)))


@pytest.mark.parametrize("unknown", [float("nan"), float("-inf")])
def test_unknown_logp_is_neutral_and_counted(tensors: dict[str, Tensor], unknown: float) -> None:
    sampled = tensors["sampled"].clone()
    sampled[0, 2] = unknown
    logp = tensors["logp"].clone().requires_grad_()
    ratio, is_unknown = ratio_of(logp, sampled)
    assert float(ratio.detach()[0, 2]) == 1 and int(is_unknown.sum()) == 1
    output = grpo_loss(logp, sampled, torch.ones_like(logp), tensors["mask"], torch.ones(8), GRPOConfig())
    output.loss_sum.backward()
    assert logp.grad is not None and bool(logp.grad.isfinite().all())
    assert float(output.metrics["grpo/unknown_logp"]) == 1


def test_kl_estimate_has_the_right_mean_and_gradient() -> None:
    """Summed over all tokens by their probability: the KL itself, and with the ratio also its gradient."""
    logits = torch.tensor([0.3, -1.0, 0.8, 0.0], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([1.0, 0.2, -0.5, 0.1], dtype=torch.float64).log_softmax(0)
    logp = logits.log_softmax(0)
    kl = (logp.exp() * (logp - reference)).sum()
    (true,) = torch.autograd.grad(kl, logits, retain_graph=True)
    ratio = (logp - logp.detach()).exp()
    weighed = (logp.detach().exp() * kl_estimate(logp, reference, ratio)).sum()
    plain = (logp.detach().exp() * kl_estimate(logp, reference, None)).sum()
    (right,) = torch.autograd.grad(weighed, logits, retain_graph=True)
    (wrong,) = torch.autograd.grad(plain, logits)
    torch.testing.assert_close(weighed.detach(), kl.detach())
    torch.testing.assert_close(right, true)
    assert not torch.allclose(wrong, true, atol=1e-2)
