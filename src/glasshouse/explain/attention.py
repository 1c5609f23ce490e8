"""Who looks at whom: attention patterns, and what each head does on text that repeats itself.

On a random sequence written twice (period n) a head's pattern shows its trade:
  previous token   t looks at t - 1
  duplicate token  t, in the second half, looks at t - n: the same token, earlier
  induction        t, in the second half, looks at t - n + 1: what came after the same token, earlier
A score is the mean attention paid there, from 0 to 1.

Shapes: L layers, N heads, B sequences, T query time, S key time.  Source: arXiv:2209.11895 (induction heads).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.core.seeds import derive_seed
from glasshouse.explain.places import checked_layer, prompt_row
from glasshouse.model import Taps, Transformer

N_SEQUENCES, PERIOD = 4, 32


@dataclass(frozen=True)
class HeadScores:
    previous_LN: Tensor
    duplicate_LN: Tensor
    induction_LN: Tensor
    period: int  # tokens of the sequence that was repeated


def attention_patterns(model: Transformer, ids: Sequence[int], layer: int | None = None) -> Tensor:
    """How much each position looks at each earlier one, (L, N, T, S); rows sum to one.  With `layer`, of that alone."""
    chosen = "*" if layer is None else str(checked_layer(model.config, layer))
    return _patterns(model, prompt_row(model, ids), chosen)[:, 0]


def head_scores(
    model: Transformer, n_sequences: int = N_SEQUENCES, period: int | None = None, seed: int = 0
) -> HeadScores:
    """Previous-token, duplicate-token and induction scores of every head.  The same seed gives the same scores."""
    longest = model.config.max_seq_len // 2
    period = min(PERIOD, longest) if period is None else period
    if not 2 <= period <= longest:
        raise ConfigError(f"the period must be from 2 to half the context ({longest}); got {period}")
    generator = torch.Generator().manual_seed(derive_seed(seed, "head_scores"))
    once_BT = torch.randint(0, model.config.vocab_size, (n_sequences, period), generator=generator)
    pattern_LBNTS = _patterns(model, once_BT.repeat(1, 2).to(model.device))
    return HeadScores(
        previous_LN=_on_diagonal(pattern_LBNTS, 1),
        duplicate_LN=_on_diagonal(pattern_LBNTS, period),
        induction_LN=_on_diagonal(pattern_LBNTS, period - 1, first=period),
        period=period,
    )


@torch.no_grad()
def _patterns(model: Transformer, ids_BT: Tensor, layer: str = "*") -> Tensor:
    taps = Taps([f"layers.{layer}.attn_weights"])
    model.hidden(ids_BT, taps=taps)
    return torch.stack(list(taps.values.values()))


def _on_diagonal(pattern_LBNTS: Tensor, offset: int, first: int | None = None) -> Tensor:
    """Mean attention to `offset` positions back, over sequences and positions from `first` on, (L, N)."""
    diagonal_LBNt = pattern_LBNTS.diagonal(-offset, -2, -1)  # its entry i is position i + offset
    skipped = 0 if first is None else first - offset
    return diagonal_LBNt[..., skipped:].float().mean((1, 3))
