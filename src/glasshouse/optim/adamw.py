"""AdamW: torch's own, fused (one kernel for all parameters; on CPU too).  Source: arXiv:1711.05101."""

from collections.abc import Iterable
from typing import Any

import torch


def AdamW(groups: Iterable[dict[str, Any]], beta1: float, beta2: float, eps: float) -> torch.optim.AdamW:
    """`groups` carry their own lr and weight_decay."""
    return torch.optim.AdamW(list(groups), lr=0.0, betas=(beta1, beta2), eps=eps, weight_decay=0.0, fused=True)
