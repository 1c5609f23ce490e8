"""Group-relative policy optimisation: several answers to one prompt, each judged against the others.

Shapes: B answers (P prompts x G answers each), T target positions.  Units: log-probabilities in nats, of the
distribution that was sampled from.
Sources: arXiv:2402.03300, eq. 3 (GRPO); arXiv:2503.14476 (DAPO: clip-higher, token-level loss); arXiv:2503.20783
(Dr. GRPO: no standard deviation, constant normalisation).  Equal to TRL 1.16 on the same tensors (tests).
The three normalisations are three weights of a row, made once for a whole batch, so that microbatches add up.
Left out: sequence-level ratios (GSPO), filtering of groups without differences (they have no gradient).
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from glasshouse.core.config import Config
from glasshouse.objective.lm import LossOutput

Normalisation = Literal["sequence", "token", "constant"]
STD_FLOOR = 1e-4  # added to a group's deviation, as TRL does: equal rewards give advantages of 0, not 0 / 0
MAX_LOG_RATIO = 20.0  # e^20 is clipped anyway; beyond e^88 the ratio would not be finite


class GRPOConfig(Config):
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float | None = Field(default=None, gt=0)  # None: as clip_low; DAPO takes 0.28, so that rare tokens rise
    normalisation: Normalisation = "token"  # "sequence" is the first paper's: long answers weigh less a token
    scales_by_std: bool = True  # False (Dr. GRPO): questions that are nearly always right or wrong do not weigh more
    kl_weight: float = Field(default=0.0, ge=0)  # pull towards the reference; 0.04 in the first paper
    weighs_kl: bool = True  # estimate of the KL times the ratio: see `kl_estimate`


def group_advantages(reward_PG: Tensor, scales_by_std: bool) -> Tensor:
    """Each reward above its group's mean, in the group's standard deviations where `scales_by_std`."""
    centred_PG = reward_PG - reward_PG.mean(dim=1, keepdim=True)
    if not scales_by_std:
        return centred_PG
    return centred_PG / (reward_PG.std(dim=1, keepdim=True) + STD_FLOOR)


def row_weights(n_targets_B: Tensor, normalisation: Normalisation, max_tokens: int) -> Tensor:
    """Weight of each token of a row, for a sum that is divided by all targets of the batch.

    sequence  the mean over rows of each row's mean       token  the mean over tokens
    constant  the sum over (rows x max_tokens), whatever was said
    """
    n_rows, n_targets = len(n_targets_B), n_targets_B.sum()
    if normalisation == "sequence":
        return n_targets / (n_rows * n_targets_B.clamp(min=1))
    if normalisation == "constant":
        return (n_targets / (n_rows * max_tokens)).expand(n_rows)
    return torch.ones_like(n_targets_B, dtype=torch.float32)


def ratio_of(logp_BT: Tensor, sampled_logp_BT: Tensor) -> tuple[Tensor, Tensor]:
    """(p / p when sampled, where that is not known).

    A log-probability that is not finite says nothing about the token: its ratio is 1, on policy.
    """
    is_unknown_BT = ~sampled_logp_BT.isfinite()
    known_BT = torch.where(is_unknown_BT, logp_BT.detach(), sampled_logp_BT)
    return (logp_BT - known_BT).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp(), is_unknown_BT


def clipped_policy_loss(ratio_BT: Tensor, advantage_BT: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """PPO's pessimistic surrogate (arXiv:1707.06347, eq. 7), negated: no gain from ratios beyond the clip."""
    clipped_BT = ratio_BT.clamp(1 - clip_low, 1 + clip_high)
    return -torch.minimum(ratio_BT * advantage_BT, clipped_BT * advantage_BT)


def is_clipped(ratio_BT: Tensor, advantage_BT: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """Where the surrogate has no gradient."""
    return ((ratio_BT > 1 + clip_high) & (advantage_BT > 0)) | ((ratio_BT < 1 - clip_low) & (advantage_BT < 0))


def kl_estimate(logp_BT: Tensor, reference_logp_BT: Tensor, ratio_BT: Tensor | None) -> Tensor:
    """KL(policy || reference), never negative: r - 1 - ln r with r = p_reference / p (Schulman's k3).

    Its value is right in the mean, but its gradient alone is that of KL(reference || policy).  Times the ratio p / p
    when sampled, whose value is 1 on policy, the gradient is right too (arXiv:2512.02556, section 3.1); without it the
    analytic optimum is missed (`benchmarks/toy_rewards.py`).
    """
    log_r_BT = (reference_logp_BT - logp_BT).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    estimate_BT = log_r_BT.exp() - 1 - log_r_BT
    return estimate_BT if ratio_BT is None else estimate_BT * ratio_BT


def grpo_loss(
    logp_BT: Tensor,
    sampled_logp_BT: Tensor,
    advantage_BT: Tensor,
    mask_BT: Tensor,
    weight_B: Tensor,
    config: GRPOConfig,
    reference_logp_BT: Tensor | None = None,
) -> LossOutput:
    """Weighted sum over the tokens of `mask_BT`.  On policy, without KL, its gradient is REINFORCE's."""
    low, high = config.clip_low, config.clip_high or config.clip_low
    ratio_BT, is_unknown_BT = ratio_of(logp_BT, sampled_logp_BT)
    loss_BT = clipped_policy_loss(ratio_BT, advantage_BT, low, high)
    metrics = {
        "clipped": is_clipped(ratio_BT, advantage_BT, low, high),
        "unknown_logp": is_unknown_BT,
    }
    if reference_logp_BT is not None and config.kl_weight:
        kl_BT = kl_estimate(logp_BT, reference_logp_BT, ratio_BT if config.weighs_kl else None)
        loss_BT = loss_BT + config.kl_weight * kl_BT
        metrics["kl"] = kl_BT.detach()
    weighted_BT = torch.where(mask_BT, loss_BT * weight_B[:, None], 0.0)
    counted = {f"grpo/{name}": torch.where(mask_BT, value_BT, 0.0).sum() for name, value_BT in metrics.items()}
    return LossOutput(weighted_BT.sum(), int(mask_BT.sum()), counted)
