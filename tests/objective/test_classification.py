"""Binary cross-entropy against the naive formula."""

import math

import pytest
import torch

from glasshouse.objective import classification_loss


def test_by_hand_and_in_parts() -> None:
    scores, labels = torch.tensor([0.0, 2.0, -1.0, 3.0]), torch.tensor([True, True, False, False])
    found = classification_loss(scores, labels)
    naive = [-math.log(1 / (1 + math.exp(-s if is_positive else s))) for s, is_positive in zip(scores, labels)]
    assert found.loss_sum.item() == pytest.approx(sum(naive)) and found.n_targets == 4
    assert found.metrics["classification/accuracy"].item() == 2  # a score of 0 is no positive
    parts = [classification_loss(scores[half], labels[half]).loss_sum for half in (slice(0, 2), slice(2, 4))]
    assert sum(parts).item() == pytest.approx(found.loss_sum.item())


def test_extreme_scores_stay_finite() -> None:
    found = classification_loss(torch.tensor([1e4, -1e4]), torch.tensor([False, True]))
    assert math.isfinite(found.loss_sum.item())
