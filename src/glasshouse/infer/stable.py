"""Matrix products on CPU whose rows do not depend on how many rows there are, to the last bit.

Shapes: T rows, K inputs, N outputs.
BLAS chooses its kernel, and with several threads how it cuts the sum, by the number of rows.  Measured with torch 2.13
and MKL on AVX-512, row against row of the same inputs: one thread, 1 to 15 rows differ from each other and from more,
16 rows and any larger number agree; two threads, some larger numbers differ too (1536 x 576: 63 to 192 rows).
So products are taken 16 rows at a time; larger pieces only in sizes that have been seen, for this very matrix and
number of threads, to give the bits of 16.  The last piece is padded.
Price: one row costs as much as 16 (135M parameters, batch 1: about twice the time); from 16 rows on nothing.
Left out: `mm` of other operands (attention sees to itself, see `model.paged`).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

N_ROWS = 16
SIZES = (512, 256, 128, 64, 32)  # tried where there are as many rows


class RowStable(TorchFunctionMode):
    """Inside it every `F.linear` on CPU is row-stable.  Costs about 1 us a torch call."""

    def __init__(self) -> None:
        super().__init__()
        self._agrees: dict[tuple[int, ...], bool] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        if func is F.linear and args[0].device.type == "cpu" and all(bias is None for bias in args[2:]):
            return self._linear(*args[:2])
        return func(*args, **(kwargs or {}))

    def _linear(self, x: Tensor, weight_NK: Tensor) -> Tensor:
        x_TK = x.reshape(-1, x.shape[-1])
        n_rows, n_padding = len(x_TK), -len(x_TK) % N_ROWS
        if n_padding:
            x_TK = torch.cat((x_TK, x_TK.new_zeros(n_padding, x_TK.shape[1])))
        y_TN = x_TK.new_empty(len(x_TK), len(weight_NK))
        at = 0
        while at < len(x_TK):
            end = at + self._size(len(x_TK) - at, weight_NK)
            torch.mm(x_TK[at:end], weight_NK.t(), out=y_TN[at:end])
            at = end
        return y_TN[:n_rows].view(*x.shape[:-1], len(weight_NK))

    def _size(self, n_rows: int, weight_NK: Tensor) -> int:
        return next((size for size in SIZES if size <= n_rows and self._may_use(size, weight_NK)), N_ROWS)

    def _may_use(self, size: int, weight_NK: Tensor) -> bool:
        key = (size, *weight_NK.shape, weight_NK.dtype.itemsize, torch.get_num_threads())
        if key not in self._agrees:
            self._agrees[key] = _agrees(size, weight_NK)
        return self._agrees[key]


def _agrees(size: int, weight_NK: Tensor) -> bool:
    """Sums in another order differ in about every second element, so one trial tells."""
    generator = torch.Generator().manual_seed(0)
    x_TK = torch.randn(size, weight_NK.shape[1], generator=generator).to(weight_NK.dtype)
    weight_KN = weight_NK.t()
    whole_TN = torch.mm(x_TK, weight_KN)
    pieces = (torch.mm(x_TK[at : at + N_ROWS], weight_KN) for at in range(0, size, N_ROWS))
    return all(torch.equal(piece, whole_TN[at * N_ROWS : (at + 1) * N_ROWS]) for at, piece in enumerate(pieces))
