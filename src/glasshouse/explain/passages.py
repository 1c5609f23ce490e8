"""What a unit (a neuron, a feature) stands for: the passages of a text on which it is strongest.

Shapes: U units, K passages of each, B windows, T tokens.  One passage a window, so that ten are ten places.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from glasshouse.core.terminal import Terminal
from glasshouse.explain.places import checked_layer
from glasshouse.explain.windows import Windows
from glasshouse.model import Taps, Transformer

AROUND = (12, 6)  # tokens shown before and after the one on which the unit is strongest


@dataclass(frozen=True, slots=True)
class Passage:
    """`ids[at]` is the token on which the unit reached `strength`."""

    ids: tuple[int, ...]
    at: int
    strength: float


@torch.no_grad()
def top_passages(
    windows: Windows,
    strength: Callable[[Tensor], Tensor],
    k: int = 8,
    max_tokens: int = 500_000,
    terminal: Terminal | None = None,
    n_at_once: int = 16,
) -> list[list[Passage]]:
    """For each unit its k strongest passages, the strongest first; those of strength 0 or less are left out.

    strength: ids (B, T) -> strengths (B, T, U).
    """
    best_KU = at_KU = number_KU = torch.zeros(0)
    total = min(max_tokens, windows.n_windows * windows.seq_len)
    kept: list[Tensor] = []
    with (terminal or Terminal(is_quiet=True)).task("passages", total=total) as task:
        for first, ids_BT in windows.all(n_at_once, max_tokens):
            value_BU, at_BU = strength(ids_BT).float().cpu().max(1)
            number_BU = torch.arange(first, first + len(ids_BT))[:, None].expand_as(at_BU)
            joined = [(value_BU, at_BU, number_BU)] if not kept else [(best_KU, at_KU, number_KU),
                                                                      (value_BU, at_BU, number_BU)]  # fmt: skip
            kept.append(ids_BT)
            value_JU, at_JU, number_JU = (torch.cat(parts) for parts in zip(*joined))
            best_KU, order_KU = value_JU.topk(min(k, len(value_JU)), dim=0)
            at_KU, number_KU = at_JU.gather(0, order_KU), number_JU.gather(0, order_KU)
            task.advance_to(min(total, (first + len(ids_BT)) * windows.seq_len))
    ids_WT = torch.cat(kept)
    return [
        [_passage(ids_WT[int(n)], int(at), float(v)) for v, at, n in zip(best_KU[:, u], at_KU[:, u], number_KU[:, u])
         if v > 0]
        for u in range(best_KU.shape[1])
    ]  # fmt: skip


def neuron_strength(model: Transformer, layer: int, neurons: list[int]) -> Callable[[Tensor], Tensor]:
    """The activations of some of a layer's neurons, for `top_passages`."""
    name = f"layers.{checked_layer(model.config, layer)}.mlp_act"

    def strength(ids_BT: Tensor) -> Tensor:
        taps = Taps([name])
        model.hidden(ids_BT.to(model.device), taps=taps)
        return taps.values[name][..., neurons]

    return strength


def _passage(ids_T: Tensor, at: int, strength: float) -> Passage:
    start = max(0, at - AROUND[0])
    return Passage(tuple(ids_T[start : at + AROUND[1] + 1].tolist()), at - start, round(strength, 4))
