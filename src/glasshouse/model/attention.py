"""Attention over keys and values, and the masks that say what may be read.

Shapes: B batch, N heads, K kv heads, T query time, S key time, H head.  Masks are boolean (B, 1, T, S), True where
reading is allowed, or blocks of 128 x 128 of which only those that may be read are visited (FlexAttention,
arXiv:2412.05496; on a GPU, in training); `None` is plain causal attention with T == S.
"""

from collections.abc import Callable
from functools import cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from glasshouse.model.taps import Taps

Mask = Tensor | BlockMask | None


def attend(q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, mask: Mask) -> Tensor:
    """Softmax attention, (B, N, T, H), in the type of the values: autocast leaves what was rotated in fp32."""
    q_BNTH, k_BKSH = q_BNTH.to(v_BKSH.dtype), k_BKSH.to(v_BKSH.dtype)
    if isinstance(mask, BlockMask):
        return attend_in_blocks(q_BNTH, k_BKSH, v_BKSH, mask)
    is_grouped = q_BNTH.shape[1] != k_BKSH.shape[1]
    # enable_gqa beats expanded keys here: 281 ms against 302 ms, forward + backward of (16, 6 over 2, 512, 32)
    return F.scaled_dot_product_attention(
        q_BNTH, k_BKSH, v_BKSH, attn_mask=mask, is_causal=mask is None, enable_gqa=is_grouped
    )


def attend_in_blocks(q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, mask: BlockMask) -> Tensor:
    """FlexAttention is a compiled kernel; on a CPU it has no backward pass."""
    is_ready = torch.compiler.is_compiling() or not q_BNTH.is_cuda
    flex = cast(Callable[..., Tensor], flex_attention) if is_ready else _compiled_flex()
    return flex(q_BNTH, k_BKSH, v_BKSH, block_mask=mask, enable_gqa=q_BNTH.shape[1] != k_BKSH.shape[1])


@cache
def _compiled_flex() -> Callable[..., Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(flex_attention)
    return compiled


def attend_explicitly(q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, mask: Mask, taps: Taps, name: str) -> Tensor:
    """The same, with the pattern (B, N, T, S) made visible at the tap `name`.  Slower: for looking only."""
    assert not isinstance(mask, BlockMask)  # made for training alone, where nobody looks
    n_group = q_BNTH.shape[1] // k_BKSH.shape[1]
    k_BNSH, v_BNSH = k_BKSH.repeat_interleave(n_group, 1), v_BKSH.repeat_interleave(n_group, 1)
    score_BNTS = q_BNTH @ k_BNSH.transpose(-1, -2) * q_BNTH.shape[-1] ** -0.5
    if mask is None:
        mask = torch.ones(score_BNTS.shape[-2:], dtype=torch.bool, device=score_BNTS.device).tril()
    weight_BNTS = score_BNTS.float().masked_fill(~mask, float("-inf")).softmax(-1).to(q_BNTH.dtype)
    return taps(name, weight_BNTS) @ v_BNSH


def document_mask(document_BT: Tensor, window: int | None = None) -> Tensor:
    """Causal, never across documents, and no further back than `window` tokens, the token itself included:

    >>> document_mask(torch.tensor([[0, 0, 1]]))[0, 0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    n_time = document_BT.shape[1]
    may_read_TT = torch.ones(n_time, n_time, dtype=torch.bool, device=document_BT.device).tril()
    if window is not None:
        may_read_TT = may_read_TT.triu(1 - window)
    return ((document_BT[:, :, None] == document_BT[:, None, :]) & may_read_TT)[:, None]


def document_blocks(document_BT: Tensor, window: int | None = None) -> BlockMask:
    """The same as blocks, most of which are never looked at: (T / 128)^2 numbers a row instead of T^2."""
    n_rows, n_time = document_BT.shape
    reach = n_time if window is None else window

    def may_read(b: Tensor, _head: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return (s <= t) & (t - s < reach) & (document_BT[b, t] == document_BT[b, s])

    return create_block_mask(
        may_read, n_rows, None, n_time, n_time, device=str(document_BT.device), _compile=document_BT.is_cuda
    )


def cache_mask(
    start: int, n_time: int, position_BT: Tensor | None, n_slots: int, device: torch.device, window: int | None = None
) -> Tensor:
    """Which slots each token may read: those at or before its position, `window` at most.  (B or 1, 1, T, S)"""
    slot_S = torch.arange(n_slots, device=device)
    if position_BT is None:
        position_BT = torch.arange(start, start + n_time, device=device)[None]
    may_read_BTS = slot_S <= position_BT[:, :, None]
    if window is not None:
        may_read_BTS &= slot_S > position_BT[:, :, None] - window
    return may_read_BTS[:, None]
