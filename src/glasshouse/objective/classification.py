"""Two classes from one score: p(positive) = sigmoid(score).

Shapes: B rows.  Left out: more than two classes, weights of classes (a threshold is chosen afterwards).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from glasshouse.objective.lm import LossOutput


def classification_loss(score_B: Tensor, is_positive_B: Tensor) -> LossOutput:
    """Binary cross-entropy, summed over rows.  A score of 0 costs ln 2 = 0.6931 either way."""
    loss_sum = F.binary_cross_entropy_with_logits(score_B, is_positive_B.float(), reduction="sum")
    with torch.no_grad():
        n_right = ((score_B > 0) == is_positive_B).sum()
    return LossOutput(loss_sum, len(score_B), {"classification/accuracy": n_right.float()})
