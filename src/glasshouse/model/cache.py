"""Keys and values of what has been read, so that the next token costs one token.

Shapes: B rows, K kv heads, S slots, H head; per layer keys and values are (B, K, S, H).
Slot equals position: a row's token at position p lies in slot p.  Prompts are padded on the right; what padding wrote
is overwritten by the row's next tokens and, until then, hidden by the mask `slot <= position`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.model.config import ModelConfig


class KVCache:
    """Preallocated storage for `n_rows` sequences, grown by doubling up to `config.max_seq_len`."""

    def __init__(
        self,
        config: ModelConfig,
        n_rows: int,
        n_slots: int = 128,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        self.n_filled = 0  # slots that any row has written
        shape = (n_rows, config.n_kv_heads, min(max(n_slots, 1), config.max_seq_len), config.d_head)
        # zeros, not empty: masked slots are multiplied by a zero weight, and 0 * NaN would be NaN
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]

    @property
    def n_rows(self) -> int:
        return self.keys[0].shape[0]

    @property
    def n_slots(self) -> int:
        return self.keys[0].shape[2]

    def reserve(self, n_slots: int) -> None:
        """Make room for positions below `n_slots`; doubles, so that n tokens cost O(log n) allocations."""
        if n_slots > self.config.max_seq_len:
            raise ConfigError(f"{n_slots} positions asked for; this model reads at most {self.config.max_seq_len}.")
        if n_slots > self.n_slots:
            size = min(max(n_slots, 2 * self.n_slots), self.config.max_seq_len)
            self.keys = [_grown(x, size, self.n_filled) for x in self.keys]
            self.values = [_grown(x, size, self.n_filled) for x in self.values]

    def write(self, layer: int, k_BTKH: Tensor, v_BTKH: Tensor, position_BT: Tensor | None) -> tuple[Tensor, Tensor]:
        """Store, and return views of the filled slots, (B, K, S, H).  `None`: every row fills the last slots."""
        keys, values = self.keys[layer], self.values[layer]
        if position_BT is None:
            at = slice(self.n_filled - k_BTKH.shape[1], self.n_filled)
            keys[:, :, at] = k_BTKH.transpose(1, 2)
            values[:, :, at] = v_BTKH.transpose(1, 2)
        else:
            rows_B1 = torch.arange(self.n_rows, device=keys.device)[:, None]
            keys[rows_B1, :, position_BT] = k_BTKH.to(keys.dtype)
            values[rows_B1, :, position_BT] = v_BTKH.to(values.dtype)
        return keys[:, :, : self.n_filled], values[:, :, : self.n_filled]

    def select(self, rows: Sequence[int] | Tensor) -> None:
        """Keep these rows, in this order: drops finished ones, or repeats one to branch it."""
        index = torch.as_tensor(rows, dtype=torch.long, device=self.keys[0].device)
        self.keys = [x.index_select(0, index) for x in self.keys]
        self.values = [x.index_select(0, index) for x in self.values]


def _grown(old: Tensor, n_slots: int, n_filled: int) -> Tensor:
    new = old.new_zeros((*old.shape[:2], n_slots, old.shape[3]))
    new[:, :, :n_filled] = old[:, :, :n_filled]
    return new
