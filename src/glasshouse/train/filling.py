"""Weights for a model without memory: divided first, it takes memory for what lies here alone, and is filled then.

So a model may be larger than the memory of any process that trains it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from glasshouse.checkpoint import fill_weights
from glasshouse.model import InitConfig, Transformer
from glasshouse.parallel import Mesh, put

Fill = Callable[[Transformer, Mesh], None]


def drawn(seed: int, init: InitConfig) -> Fill:
    """First weights, the same in any mesh."""
    return lambda model, _: model.init_weights(seed, init, put)


def stored(folder: Path) -> Fill:
    """Those of a checkpoint; of divided ones each process reads its pieces."""

    def fill(model: Transformer, mesh: Mesh) -> None:
        if mesh.world_size == 1:
            fill_weights(model, folder)
            return
        from glasshouse.checkpoint import load_divided

        load_divided(folder, weights_of(model))

    return fill


def weights_of(model: nn.Module) -> dict[str, Any]:
    """By the keys they have in a checkpoint that many write."""
    from glasshouse.checkpoint import WEIGHTS_PREFIX

    return {WEIGHTS_PREFIX + name: parameter.detach() for name, parameter in model.named_parameters()}
