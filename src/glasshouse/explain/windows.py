"""Text to look at a model with: ids cut into windows of one length, the last of them held out from training.

Which windows a step draws is a function of seed and step alone.  Shapes: B windows, T tokens.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glasshouse.core.errors import DataError
from glasshouse.core.seeds import numpy_generator

HELD_OUT_SHARE = 0.1


class Windows:
    """`ids` (a token shard's, or any) in windows of `seq_len`; the rest that fills no window is left out."""

    def __init__(self, ids: NDArray[np.integer], seq_len: int) -> None:
        self.n_windows, self.seq_len = len(ids) // seq_len, seq_len
        if self.n_windows < 2:
            raise DataError(f"this text has {len(ids)} tokens; at least {2 * seq_len} are needed (two windows)")
        self._ids_WT = ids[: self.n_windows * seq_len].reshape(self.n_windows, seq_len)
        self.n_train = self.n_windows - max(1, int(self.n_windows * HELD_OUT_SHARE))

    def draw(self, step: int, n: int, seed: int) -> Tensor:
        """`n` training windows, (B, T)."""
        chosen_B = numpy_generator(seed, "windows", step).integers(0, self.n_train, n)
        return self.take(np.sort(chosen_B))

    def held_out(self, n_at_once: int, max_tokens: int) -> Iterator[Tensor]:
        """The held-out windows in order, up to `max_tokens`."""
        end = min(self.n_windows, self.n_train + max(1, max_tokens // self.seq_len))
        return self._in_order(self.n_train, end, n_at_once)

    def all(self, n_at_once: int, max_tokens: int) -> Iterator[tuple[int, Tensor]]:
        """(number of the first, windows), spread evenly over the text where there are more than `max_tokens`."""
        stride = max(1, self.n_windows * self.seq_len // max_tokens)
        numbers = np.arange(0, self.n_windows, stride)
        for start in range(0, len(numbers), n_at_once):
            yield start, self.take(numbers[start : start + n_at_once])

    def take(self, numbers: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(self._ids_WT[numbers].astype(np.int64))

    def _in_order(self, start: int, end: int, n_at_once: int) -> Iterator[Tensor]:
        for at in range(start, end, n_at_once):
            yield self.take(np.arange(at, min(at + n_at_once, end)))
