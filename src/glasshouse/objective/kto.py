"""Kahneman-Tversky optimisation: learn from single answers found good or bad, without pairs.

An answer gains value as the policy finds it likelier than the reference does, above the point z where the policy stands
on the whole: z = max(0, mean of log policy/reference over answers put to other prompts), an estimate of the KL
divergence, through which no gradient flows.
Shapes: B answers, M mismatched answers.  Units: log-probabilities in nats, summed over answer tokens.
Source: arXiv:2402.01306, eq. 7 and 8.  Left out: z over several processes.
"""

import pydantic
import torch
from torch import Tensor

from glasshouse.core.config import Config
from glasshouse.objective.lm import LossOutput


class KTOConfig(Config):
    beta: float = pydantic.Field(default=0.1, gt=0)
    good_weight: float = pydantic.Field(default=1.0, gt=0)  # of a good answer's loss
    bad_weight: float = pydantic.Field(default=1.0, gt=0)


def kto_loss(
    policy_B: Tensor,
    reference_B: Tensor,
    is_good_B: Tensor,
    mismatched_policy_M: Tensor,
    mismatched_reference_M: Tensor,
    config: KTOConfig,
) -> LossOutput:
    """Summed over answers.  Equal log-probabilities give 1/2 an answer."""
    kl = reference_point(mismatched_policy_M, mismatched_reference_M)
    sign_B = torch.where(is_good_B, 1.0, -1.0)
    weight_B = torch.where(is_good_B, config.good_weight, config.bad_weight)
    gain_B = sign_B * (policy_B - reference_B - kl)
    loss_B = weight_B * (1 - torch.sigmoid(config.beta * gain_B))
    metrics = {
        "kto/accuracy": (gain_B.detach() > 0).float().sum(),
        "kto/gain": config.beta * gain_B.detach().sum(),
        "kto/kl": kl * len(loss_B),
    }
    return LossOutput(loss_B.sum(), len(loss_B), metrics)


@torch.no_grad()
def reference_point(mismatched_policy_M: Tensor, mismatched_reference_M: Tensor) -> Tensor:
    """z: 0 where the policy finds answers to other prompts less likely than the reference does."""
    return (mismatched_policy_M - mismatched_reference_M).mean().clamp(min=0)


def balanced_range(n_good: int, n_bad: int, bad_weight: float) -> tuple[float, float]:
    """(lowest, highest) good_weight at which good answers weigh 1 to 4/3 times what bad ones weigh (eq. 8)."""
    ratio = bad_weight * n_bad / max(1, n_good)
    return ratio, 4 / 3 * ratio
