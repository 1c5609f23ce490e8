"""Attention of many sequences over keys and values that lie in blocks, as the serving engine keeps them.

Shapes: T tokens of one step, all sequences in a row; R sequences, P blocks of a sequence, S = P * block_size slots,
Q new tokens of each; per layer keys and values are (n_blocks, K kv heads, block_size, H head).  The token at position p
of a sequence lies in slot p % block_size of its block number p // block_size.  Source: arXiv:2309.06180.

All of a step's keys and values are written in a layer before any of its attention reads: a sequence may read blocks
that another one writes in the same step.

Sequences with like numbers of new tokens and of slots, both padded, are multiplied together.  The paddings are such
that a token's result has the same bits whatever is computed beside it.  Measured (torch 2.13, MKL, AVX-512): from 8
rows on a product's rows agree however many there are, 1 to 4 do not; weights of zero add nothing as long as at most
512 slots
are summed in one product; with several threads, a product of fewer matrices than threads is cut differently.
Batched products take less than half the time of SDPA, which goes head by head (256 sequences of 64 slots, 4 queries:
1.9 ms against 8.3; one thread).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glasshouse.model.config import ModelConfig

MIN_ROWS = 8  # of a product of queries and keys: query heads of one kv head, times tokens
RUN = 512  # slots that are summed in one product


class PagedCache:
    """The memory: `n_blocks` blocks of `block_size` slots, every layer.  CPU pages never written cost no memory."""

    def __init__(
        self,
        config: ModelConfig,
        n_blocks: int,
        block_size: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.n_blocks, self.block_size = n_blocks, block_size
        self.n_kv_heads = config.n_kv_heads
        shape = (n_blocks, config.n_kv_heads, block_size, config.d_head)
        self.keys = [_zeros(shape, device, dtype) for _ in range(config.n_layers)]
        self.values = [_zeros(shape, device, dtype) for _ in range(config.n_layers)]

    @staticmethod
    def block_bytes(config: ModelConfig, block_size: int, dtype: torch.dtype = torch.float32) -> int:
        """Memory of one block, all layers."""
        return 2 * config.n_layers * config.n_kv_heads * config.d_head * block_size * dtype.itemsize

    def copy_block(self, source: int, target: int) -> None:
        for pages in (*self.keys, *self.values):
            pages[target] = pages[source]


@dataclass(frozen=True, slots=True)
class Group:
    """Sequences whose attention is computed together.  R counts padding: there are at least as many as threads."""

    row_RKP: Tensor  # flattened: block * K + kv head
    token_RQ: Tensor  # flattened; padding repeats a sequence's last token
    back_RQS: Tensor  # how many tokens a slot lies back; below zero: ahead
    dtype: torch.dtype
    masks: dict[int | None, Tensor]  # by window, (R, 1, 1, Q, S): 0 or -inf
    from_RQ: Tensor  # places among R * Q that are no padding
    to_T: Tensor
    n_sequences: int

    def mask(self, window: int | None) -> Tensor:
        if window not in self.masks:
            is_hidden_RQS = self.back_RQS < 0
            if window is not None:
                is_hidden_RQS |= self.back_RQS >= window
            mask_RQS = torch.zeros(is_hidden_RQS.shape, dtype=self.dtype, device=is_hidden_RQS.device)
            self.masks[window] = mask_RQS.masked_fill_(is_hidden_RQS, -torch.inf)[:, None, None]
        return self.masks[window]


class PagedAttention:
    """The plan of one step, made once and used by every layer."""

    def __init__(
        self, cache: PagedCache, position_T: np.ndarray, sequence_T: np.ndarray, block_RP: np.ndarray, n_group: int
    ) -> None:
        """The tokens of a sequence stand in a row among the T, in order of position.

        `n_group` query heads share a kv head.
        """
        self._cache, self._device = cache, cache.keys[0].device
        self._min_queries = -(-MIN_ROWS // n_group)
        head_K = np.arange(cache.n_kv_heads)
        block_T = block_RP[sequence_T, position_T // cache.block_size].astype(np.int64)
        row_TK = (block_T[:, None] * cache.n_kv_heads + head_K) * cache.block_size
        self._slot_TK = self._tensor((row_TK + (position_T % cache.block_size)[:, None]).ravel())
        count_R = np.bincount(sequence_T, minlength=len(block_RP))
        start_R = np.concatenate(([0], np.cumsum(count_R)[:-1]))
        last_R = position_T[start_R + count_R - 1]
        members: dict[tuple[int, int], list[int]] = {}
        keys = zip(_padded(count_R, self._min_queries).tolist(), _padded_slots(last_R + 1).tolist())
        for r, key in enumerate(keys):
            members.setdefault(key, []).append(r)
        self._groups = [
            self._group(key, position_T, start_R[rows], count_R[rows], block_RP[rows]) for key, rows in members.items()
        ]

    def attend(self, layer: int, q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor, window: int | None = None) -> Tensor:
        """Write this step's keys and values, then what each token reads, `window` tokens back at most: (1, T, N, H).

        B is 1.

        There may be more tokens than were planned for, at the end: they are padding, get zeros and are not kept.
        """
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        for pages, new_BTKH in ((keys, k_BTKH), (values, v_BTKH)):
            row_TKH = new_BTKH.flatten(0, 2)[: len(self._slot_TK)]
            pages.view(-1, pages.shape[-1]).index_copy_(0, self._slot_TK, row_TKH)
        q_TNH = q_BTNH[0] * q_BTNH.shape[-1] ** -0.5
        out_TNH = torch.zeros_like(q_TNH)
        for group in self._groups:
            heads_TNH = self._attend_group(group, window, q_TNH, keys.flatten(0, 1), values.flatten(0, 1))
            out_TNH.index_copy_(0, group.to_T, heads_TNH)
        return out_TNH[None]

    def _attend_group(self, group: Group, window: int | None, q_TNH: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        n_sequences, n_kv_heads = group.n_sequences, self._cache.n_kv_heads
        shape = (n_sequences * n_kv_heads, -1, q_TNH.shape[-1])
        k_ASH = keys.index_select(0, group.row_RKP).view(shape)  # A: R * K
        v_ASH = values.index_select(0, group.row_RKP).view(shape)
        q_RQKGH = q_TNH.index_select(0, group.token_RQ).view(n_sequences, -1, n_kv_heads, *self._group_shape(q_TNH))
        q_RKGQH = q_RQKGH.permute(0, 2, 3, 1, 4)
        score_AMS = torch.bmm(q_RKGQH.reshape(shape), k_ASH.transpose(1, 2))  # M: G * Q
        score_AMS.view(*q_RKGQH.shape[:4], -1).add_(group.mask(window))
        weight_AMS = score_AMS.softmax(-1)
        heads_AMH = torch.bmm(weight_AMS[:, :, :RUN], v_ASH[:, :RUN])
        for at in range(RUN, weight_AMS.shape[2], RUN):
            heads_AMH += torch.bmm(weight_AMS[:, :, at : at + RUN], v_ASH[:, at : at + RUN])
        heads_RQKGH = heads_AMH.view(q_RKGQH.shape).permute(0, 3, 1, 2, 4)
        return heads_RQKGH.reshape(-1, *q_TNH.shape[1:]).index_select(0, group.from_RQ)

    def _group_shape(self, q_TNH: Tensor) -> tuple[int, int]:
        return q_TNH.shape[1] // self._cache.n_kv_heads, q_TNH.shape[2]

    def _group(self, key: tuple[int, int], position_T: np.ndarray, start_R: np.ndarray, count_R: np.ndarray,
               table_RP: np.ndarray) -> Group:  # fmt: skip
        n_queries, n_slots = key
        n_real, n_kv_heads = len(table_RP), self._cache.n_kv_heads
        n_sequences = max(n_real, -(-torch.get_num_threads() // n_kv_heads))
        block_RP = np.zeros((n_sequences, -(-n_slots // self._cache.block_size)), dtype=np.int64)
        n = min(table_RP.shape[1], block_RP.shape[1])
        block_RP[:n_real, :n] = table_RP[:, :n]  # beyond a sequence's end any block will do: its slots are masked
        query_Q = np.arange(n_queries)
        token_RQ = np.zeros((n_sequences, n_queries), dtype=np.int64)
        token_RQ[:n_real] = start_R[:, None] + np.minimum(query_Q, count_R[:, None] - 1)
        slot_S = np.arange(block_RP.shape[1] * self._cache.block_size)
        back_RQS = self._tensor(position_T[token_RQ][:, :, None] - slot_S)
        is_real_RQ = query_Q < count_R[:, None]
        row_RKP = block_RP[:, None] * n_kv_heads + np.arange(n_kv_heads)[:, None]
        return Group(
            self._tensor(row_RKP.ravel()), self._tensor(token_RQ.ravel()), back_RQS, self._cache.keys[0].dtype, {},
            self._tensor(np.flatnonzero(is_real_RQ)), self._tensor(token_RQ[:n_real][is_real_RQ]), n_sequences,
        )  # fmt: skip

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device)


def _padded(count_R: np.ndarray, least: int) -> np.ndarray:
    """`least`, doubled as often as needed."""
    return least * 2 ** np.ceil(np.log2(np.maximum(count_R, least) / least)).astype(np.int64)


def _padded_slots(length_R: np.ndarray) -> np.ndarray:
    """32, 64, 128, 256, 512, then whole runs of 512."""
    return np.where(length_R <= RUN, _padded(length_R, 32), -(-length_R // RUN) * RUN)


def _zeros(shape: tuple[int, ...], device: torch.device | str, dtype: torch.dtype) -> Tensor:
    """Zeros, not empty: masked slots are multiplied by a zero weight, and 0 * NaN would be NaN.

    NumPy's are given by the operating system page by page as they are touched; torch's are all touched at once.
    """
    if torch.device(device).type != "cpu":
        return torch.zeros(shape, device=device, dtype=dtype)
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    return torch.from_numpy(np.zeros(n_bytes, dtype=np.uint8)).view(dtype).view(shape)
