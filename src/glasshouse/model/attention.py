"""Attention over keys and values, and the masks that say what may be read.

Shapes: B batch, N heads, K kv heads, T query time, S key time, H head.  Masks are boolean (B, 1, T, S), True where
reading is allowed; `None` is plain causal attention with T == S.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from glasshouse.model.taps import Taps


def attend(q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention, (B, N, T, H)."""
    is_grouped = q_BNTH.shape[1] != k_BKSH.shape[1]
    # enable_gqa beats expanded keys here: 281 ms against 302 ms, forward + backward of (16, 6 over 2, 512, 32)
    return F.scaled_dot_product_attention(
        q_BNTH, k_BKSH, v_BKSH, attn_mask=mask, is_causal=mask is None, enable_gqa=is_grouped
    )


def attend_explicitly(
    q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, mask: Tensor | None, taps: Taps, name: str
) -> Tensor:
    """The same, with the pattern (B, N, T, S) made visible at the tap `name`.  Slower: for looking only."""
    n_group = q_BNTH.shape[1] // k_BKSH.shape[1]
    k_BNSH, v_BNSH = k_BKSH.repeat_interleave(n_group, 1), v_BKSH.repeat_interleave(n_group, 1)
    score_BNTS = q_BNTH @ k_BNSH.transpose(-1, -2) * q_BNTH.shape[-1] ** -0.5
    if mask is None:
        mask = torch.ones(score_BNTS.shape[-2:], dtype=torch.bool, device=score_BNTS.device).tril()
    weight_BNTS = score_BNTS.float().masked_fill(~mask, float("-inf")).softmax(-1).to(q_BNTH.dtype)
    return taps(name, weight_BNTS) @ v_BNSH


def document_mask(document_BT: Tensor) -> Tensor:
    """Causal, and never across documents:

    >>> document_mask(torch.tensor([[0, 0, 1]]))[0, 0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    n_time = document_BT.shape[1]
    is_causal_TT = torch.ones(n_time, n_time, dtype=torch.bool, device=document_BT.device).tril()
    return ((document_BT[:, :, None] == document_BT[:, None, :]) & is_causal_TT)[:, None]


def cache_mask(start: int, n_time: int, position_BT: Tensor | None, n_slots: int, device: torch.device) -> Tensor:
    """Which slots each token may read: those at or before its position.  (B or 1, 1, T, S)"""
    slot_S = torch.arange(n_slots, device=device)
    if position_BT is None:
        position_BT = torch.arange(start, start + n_time, device=device)[None]
    return (slot_S <= position_BT[:, :, None])[:, None]
