"""Placeholder until the stacked Muon lands."""

from collections.abc import Iterable
from typing import Any

import torch


class Muon(torch.optim.Muon):
    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)
