"""First weights.  Each tensor draws from its own stream, named after it, so order and other tensors change nothing."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from glasshouse.core.config import Config
from glasshouse.core.seeds import derive_seed


class InitConfig(Config):
    matrix: Literal["normal", "fan_in"] = "normal"  # normal: `std`; fan_in: 1 / sqrt(inputs), steady at any width
    std: float = 0.02  # as GPT-2 and its descendants
    embedding_std: float = 0.02
    has_zero_outputs: bool = False  # o_proj and down_proj start at 0: every block starts as the identity
    has_scaled_outputs: bool = False  # GPT-2's 1 / sqrt(2 L) on o_proj and down_proj


OUTPUTS = ("o_proj.weight", "down_proj.weight")
Put = Callable[[nn.Parameter, Tensor], object]  # what fills a parameter from all of its numbers


@torch.no_grad()
def initialise(model: Any, seed: int, init: InitConfig, put: Put = nn.Parameter.copy_) -> None:
    """Weights that lie here in pieces are drawn whole, one at a time, and `put` keeps what belongs here."""
    n_layers = len(model.model.layers)
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            parameter.fill_(1.0)
        elif name.endswith(OUTPUTS) and init.has_zero_outputs:
            parameter.zero_()
        else:
            generator = torch.Generator("cpu").manual_seed(derive_seed(seed, "init", name))
            std = _std(name, parameter, n_layers, init)
            put(parameter, torch.randn(parameter.shape, generator=generator) * std)


def _std(name: str, parameter: nn.Parameter, n_layers: int, init: InitConfig) -> float:
    if name.endswith("embed_tokens.weight"):
        return init.embedding_std
    std = init.std if init.matrix == "normal" else float(parameter.shape[1]) ** -0.5
    return std * (2 * n_layers) ** -0.5 if init.has_scaled_outputs and name.endswith(OUTPUTS) else std
