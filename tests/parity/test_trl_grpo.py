"""The GRPO loss equals TRL's own code on the same tensors, in value and gradient."""

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from glasshouse.objective.grpo import GRPOConfig, group_advantages, grpo_loss, row_weights

N_ANSWERS, MAX_TOKENS = 4, 9


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


def ours(tensors: dict[str, Tensor], config: GRPOConfig) -> tuple[Tensor, Tensor]:
    """(loss, its gradient by the log-probabilities)."""
    logp = tensors["logp"].clone().requires_grad_()
    advantage = group_advantages(tensors["reward"].view(-1, N_ANSWERS), config.scales_by_std).view(-1, 1)
    weight = row_weights(tensors["mask"].sum(1), config.normalisation, MAX_TOKENS).double()
    output = grpo_loss(
        logp, tensors["sampled"], advantage.expand_as(logp), tensors["mask"], weight, config, tensors["reference"]
    )
    output.loss_mean.backward()
    assert logp.grad is not None
    return output.loss_mean.detach(), logp.grad


def trls(tensors: dict[str, Tensor], config: GRPOConfig, loss_type: str) -> tuple[Tensor, Tensor]:
    """TRL's `_compute_loss`, its model replaced by the given log-probabilities."""
    trainer = pytest.importorskip("trl.trainer.grpo_trainer").GRPOTrainer
    logp = tensors["logp"].clone().requires_grad_()
    mask = tensors["mask"].double()
    rewards = tensors["reward"].view(-1, N_ANSWERS)
    advantage = rewards - rewards.mean(1, keepdim=True)
    if config.scales_by_std:
        advantage = advantage / (rewards.std(1, keepdim=True) + 1e-4)  # in the middle of a long method of TRL's
    self: Any = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logp, torch.zeros_like(logp), None),
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None,
        importance_sampling_level="token", beta=config.kl_weight, loss_type=loss_type, epsilon_low=config.clip_low,
        epsilon_high=config.clip_high or config.clip_low, use_vllm=False, max_completion_length=MAX_TOKENS,
        args=SimpleNamespace(use_bias_correction_kl=config.weighs_kl, delta=None, steps_per_generation=1),
        model=SimpleNamespace(training=True), current_gradient_accumulation_steps=1, _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
        accelerator=SimpleNamespace(num_processes=1, reduce=lambda x, **_: x, gather=lambda x: x),
    )  # fmt: skip
    inputs = {
        "prompt_ids": torch.zeros(8, 2, dtype=torch.long), "prompt_mask": torch.ones(8, 2),
        "completion_ids": torch.zeros(8, MAX_TOKENS, dtype=torch.long), "completion_mask": mask,
        "advantages": advantage.flatten(), "old_per_token_logps": tensors["sampled"],
        "ref_per_token_logps": tensors["reference"], "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    loss = trainer._compute_loss(self, None, inputs)
    loss.backward()
    assert logp.grad is not None
    return loss.detach(), logp.grad


@pytest.mark.parametrize(("normalisation", "loss_type"), [
    ("sequence", "grpo"), ("token", "dapo"), ("constant", "dr_grpo"),
])  # fmt: skip
@pytest.mark.parametrize("settings", [
    {},
    {"clip_high": 0.28},
    {"scales_by_std": False},
    {"kl_weight": 0.1},
    {"kl_weight": 0.1, "weighs_kl": False, "clip_high": 0.4},
])  # fmt: skip
def test_equals_trl(tensors: dict[str, Tensor], normalisation: Any, loss_type: str, settings: dict[str, Any]) -> None:
    config = GRPOConfig(normalisation=normalisation, **settings)
    loss, gradient = ours(tensors, config)
    their_loss, their_gradient = trls(tensors, config, loss_type)
    torch.testing.assert_close(loss, their_loss, rtol=0, atol=1e-6)
    torch.testing.assert_close(gradient, their_gradient, rtol=0, atol=1e-6)
