"""Bradley-Terry: the preferred answer's score exceeds the other's; rankings of k answers as all their pairs.

P(a preferred to b) = sigmoid(score_a - score_b).  A ranking's C(k, 2) pairs come from k forward passes, and each weighs
1 / C(k, 2), so that every prompt counts once.  A margin says by how much more the preferred answer should score.
Shapes: P pairs.  Sources: arXiv:2203.02155, eq. 1 (k-wise); arXiv:2307.09288, eq. 2 (margin).
Left out: ties as data; a tied pair says nothing here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from glasshouse.core.config import Config
from glasshouse.objective.lm import LossOutput
from glasshouse.objective.pair import Pair


class RewardLossConfig(Config):
    centring: float = 0.0  # weight of (chosen + rejected)^2, which holds the mean score near 0 (arXiv:2312.09244)


def reward_loss(
    score: Pair,
    config: RewardLossConfig,
    *,
    n_rankings: int | None = None,
    weight_P: Tensor | None = None,
    margin_P: Tensor | None = None,
) -> LossOutput:
    """Summed over rankings, of which a plain pair is the smallest.  Equal scores give ln 2 = 0.6931 a ranking.

    n_rankings: by default every pair is one; otherwise `weight_P` says what share of its ranking each pair is.
    """
    difference_P = score.difference_P
    loss_P = -F.logsigmoid(difference_P if margin_P is None else difference_P - margin_P)
    if config.centring:
        loss_P = loss_P + config.centring * (score.chosen_P + score.rejected_P) ** 2
    weight_P = torch.ones_like(loss_P) if weight_P is None else weight_P
    with torch.no_grad():
        metrics = {
            "reward/accuracy": (weight_P * (difference_P > 0)).sum(),
            "reward/difference": (weight_P * difference_P).sum(),
        }
    return LossOutput((weight_P * loss_P).sum(), len(loss_P) if n_rankings is None else n_rankings, metrics)
