"""Proximal policy optimisation with a value head: what each token was worth, learned along with the policy.

Shapes: B answers, T target positions; a row's answer is one unbroken stretch of `mask_BT`.  Units: nats, rewards.
Sources: arXiv:1707.06347 (clipping), arXiv:1506.02438, eq. 16 (GAE), arXiv:1909.08593, section 2.2 (adaptive KL),
arXiv:2203.02155, appendix C (a KL penalty at every token, the reward at the last).
An answer that was cut off is treated as ended: nothing is expected after its last token.
Left out: entropy bonus (an alarm watches the entropy instead), pretraining gradients mixed in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from glasshouse.core.config import Config
from glasshouse.objective.grpo import clipped_policy_loss, is_clipped, ratio_of
from glasshouse.objective.lm import LossOutput


class PPOConfig(Config):
    clip: float = Field(default=0.2, gt=0, lt=1)  # of the ratio
    clip_value: float | None = Field(default=0.2, gt=0)  # how far a value may move from what it was; None: freely
    value_weight: float = Field(default=0.5, ge=0)
    discount: float = Field(default=1.0, gt=0, le=1)
    trace: float = Field(default=0.95, ge=0, le=1)  # GAE's lambda: 1 takes what happened, 0 trusts the next value
    kl_weight: float = Field(default=0.05, ge=0)  # what a nat away from the reference costs; where adaptive, at first
    kl_target: float | None = Field(default=None, gt=0)  # nats an answer; given, the weight adapts to stay near it
    kl_horizon: int = Field(default=10_000, gt=0)  # answers in which the weight may change e-fold or so
    whitens_rewards: bool = False  # rewards divided by their deviation over all tokens
    whitens_advantages: bool = True


@dataclass(frozen=True, slots=True)
class KLController:
    """The price of a nat, raised while the KL is above the target and lowered below it (arXiv:1909.08593, eq. 2)."""

    weight: float
    target: float | None
    horizon: int

    def after(self, kl: float, n_answers: int) -> "KLController":
        """`kl`: nats an answer, mean over the last `n_answers`.  The error counts for 20 % at most."""
        if self.target is None:
            return self
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        return KLController(self.weight * (1 + error * n_answers / self.horizon), self.target, self.horizon)

    def to_json(self) -> dict[str, Any]:
        return {"weight": self.weight, "target": self.target, "horizon": self.horizon}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "KLController":
        return KLController(**record)


def token_rewards(
    reward_B: Tensor, logp_BT: Tensor, reference_logp_BT: Tensor, mask_BT: Tensor, weight: float
) -> Tensor:
    """-weight x (ln p - ln p_reference) at every token, and the answer's reward at its last one."""
    penalty_BT = torch.where(mask_BT, -weight * (logp_BT - reference_logp_BT), 0.0)
    position_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    last_B = torch.where(mask_BT, position_T, -1).amax(dim=1)
    return penalty_BT + torch.where(mask_BT & (position_T == last_B[:, None]), reward_B[:, None], 0.0)


def whiten(x_BT: Tensor, mask_BT: Tensor, *, keeps_mean: bool = False) -> Tensor:
    """Deviation 1 over the mask, and mean 0 unless it is kept; 0 outside."""
    counted = x_BT[mask_BT]
    mean, deviation = counted.mean(), counted.std(correction=0)
    white_BT = (x_BT - mean) / (deviation + 1e-8) + (mean if keeps_mean else 0.0)
    return torch.where(mask_BT, white_BT, 0.0)


def advantages_and_returns(
    reward_BT: Tensor, value_BT: Tensor, mask_BT: Tensor, discount: float, trace: float
) -> tuple[Tensor, Tensor]:
    """(A, A + V): A_t = sum over l of (discount x trace)^l x delta_(t+l), delta_t = r_t + discount x V_(t+1) - V_t."""
    advantage_BT, following_B = torch.zeros_like(value_BT), torch.zeros_like(value_BT[:, 0])
    next_value_B = torch.zeros_like(following_B)
    for t in range(value_BT.shape[1] - 1, -1, -1):
        delta_B = reward_BT[:, t] + discount * next_value_B - value_BT[:, t]
        following_B = torch.where(mask_BT[:, t], delta_B + discount * trace * following_B, 0.0)
        next_value_B = torch.where(mask_BT[:, t], value_BT[:, t], 0.0)
        advantage_BT[:, t] = following_B
    return advantage_BT, torch.where(mask_BT, advantage_BT + value_BT, 0.0)


def clipped_value_loss(value_BT: Tensor, old_value_BT: Tensor, return_BT: Tensor, clip: float | None) -> Tensor:
    """Half the squared error, the worse of the value's and of the value kept near what it was."""
    error_BT = (value_BT - return_BT).square()
    if clip is None:
        return 0.5 * error_BT
    near_BT = old_value_BT + (value_BT - old_value_BT).clamp(-clip, clip)
    return 0.5 * torch.maximum(error_BT, (near_BT - return_BT).square())


def ppo_loss(
    logp_BT: Tensor,
    value_BT: Tensor,
    sampled_logp_BT: Tensor,
    old_value_BT: Tensor,
    advantage_BT: Tensor,
    return_BT: Tensor,
    mask_BT: Tensor,
    config: PPOConfig,
) -> LossOutput:
    """Sum over the tokens of `mask_BT` of the policy's loss and `value_weight` times the value's."""
    ratio_BT, is_unknown_BT = ratio_of(logp_BT, sampled_logp_BT)
    policy_BT = clipped_policy_loss(ratio_BT, advantage_BT, config.clip, config.clip)
    value_loss_BT = clipped_value_loss(value_BT, old_value_BT, return_BT, config.clip_value)
    metrics = {
        "policy_loss": policy_BT.detach(),
        "value_loss": value_loss_BT.detach(),
        "clipped": is_clipped(ratio_BT, advantage_BT, config.clip, config.clip),
        "unknown_logp": is_unknown_BT,
    }
    loss_BT = torch.where(mask_BT, policy_BT + config.value_weight * value_loss_BT, 0.0)
    counted = {f"ppo/{name}": torch.where(mask_BT, value, 0.0).sum() for name, value in metrics.items()}
    return LossOutput(loss_BT.sum(), int(mask_BT.sum()), counted)
