"""Direct preference optimisation: prefer the chosen answer, measured against a frozen reference.

Shapes: P pairs.  Units: log-probabilities in nats, summed over answer tokens; `lengths` in answer tokens.
Sources: DPO, arXiv:2305.18290, eq. 7; label smoothing, ericmitchell.ai/cdpo.pdf, eq. 3; IPO,
arXiv:2310.12036, eq. 17, per answer token as its authors computed it; length-normalised, arXiv:2411.15124.
Left out: other divergences and links; the reference's forward pass (align computes it once).
"""

from typing import Literal, Self

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor

from glasshouse.core.config import Config
from glasshouse.objective.lm import LossOutput
from glasshouse.objective.pair import Pair


class DPOConfig(Config):
    beta: float = pydantic.Field(default=0.1, gt=0)  # pull towards the reference; IPO calls it tau
    kind: Literal["sigmoid", "length_normalised", "ipo"] = "sigmoid"
    p_flipped: float = pydantic.Field(default=0.0, ge=0, lt=0.5)  # probability that a label is wrong
    nll_weight: float = pydantic.Field(default=0.0, ge=0)  # of imitating what was chosen (arXiv:2404.19733, eq. 1)

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if self.p_flipped and self.kind == "ipo":
            raise ValueError("p_flipped smooths a sigmoid; IPO has none. Leave it out, or choose another kind")
        return self


def dpo_loss(policy: Pair, reference: Pair, lengths: Pair, config: DPOConfig) -> LossOutput:
    """Summed over pairs.  Equal log-probabilities give ln 2 = 0.6931 a pair; with IPO, 1 / (2 beta)^2."""
    ratio = Pair(policy.chosen_P - reference.chosen_P, policy.rejected_P - reference.rejected_P)
    compared = ratio if config.kind == "sigmoid" else _per_token(ratio, lengths)
    if config.kind == "ipo":
        loss_P = (compared.difference_P - 1 / (2 * config.beta)) ** 2
    else:
        loss_P = _smoothed(config.beta * compared.difference_P, config.p_flipped)
    return LossOutput(loss_P.sum(), len(loss_P), _metrics(ratio, config.beta))


def _smoothed(margin_P: Tensor, p_flipped: float) -> Tensor:
    loss_P = -F.logsigmoid(margin_P)
    return loss_P if not p_flipped else (1 - p_flipped) * loss_P - p_flipped * F.logsigmoid(-margin_P)


def _per_token(ratio: Pair, lengths: Pair) -> Pair:
    return Pair(ratio.chosen_P / lengths.chosen_P.clamp(min=1), ratio.rejected_P / lengths.rejected_P.clamp(min=1))


@torch.no_grad()
def _metrics(ratio: Pair, beta: float) -> dict[str, Tensor]:
    """The implicit rewards beta log(policy / reference) and how often they rank the pair as people did."""
    return {
        "dpo/accuracy": (ratio.difference_P > 0).float().sum(),
        "dpo/margin": beta * ratio.difference_P.sum(),
        "dpo/reward_chosen": beta * ratio.chosen_P.sum(),
        "dpo/reward_rejected": beta * ratio.rejected_P.sum(),
    }
