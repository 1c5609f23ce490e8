"""What each layer would say if it were the last: the residual stream, read by the model's own final norm and head.

Row 0 is the embedding, row i the stream after layer i - 1; the last row is the model's own answer.  A tuned lens
(`tuned_lens`) first translates each row into the last one's language; translators of zeros change nothing.

Shapes: R readings (L + 1), T tokens, P positions asked for, D model, V vocab.  Log-probabilities in nats.
Sources: nostalgebraist 2020 (logit lens), arXiv:2303.08112 (tuned lens).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from glasshouse.explain.places import checked_position, prompt_row
from glasshouse.model import Taps, Transformer


@dataclass(frozen=True)
class Translators:
    """For each layer's input an affine map that is added to it: h + A h + b, (L, D, D) and (L, D)."""

    matrix_LDD: Tensor
    bias_LD: Tensor

    def __call__(self, resid_D: Tensor, row: int) -> Tensor:
        """`resid_D` may have any leading dimensions.  The last row needs no translation and has none."""
        if row == len(self.bias_LD):
            return resid_D
        x_D = wide(resid_D)
        return (x_D + x_D @ self.matrix_LDD[row].T + self.bias_LD[row]).to(resid_D.dtype)


def residual_rows(model: Transformer, ids_BT: Tensor) -> list[Tensor]:
    """The residual stream at every reading: L + 1 tensors (B, T, D)."""
    last = model.config.n_layers - 1
    taps = Taps(["layers.*.resid_pre", f"layers.{last}.resid_post"])
    model.hidden(ids_BT, taps=taps)
    return list(taps.values.values())


def read_out(model: Transformer, resid_D: Tensor) -> Tensor:
    """Logits (..., V) of a residual stream (..., D), by the final norm and the head."""
    return F.linear(model.model.norm(resid_D), model.head_weight_VD)


def wide(value: Tensor) -> Tensor:
    """In fp32, or better where it is: sums over a model's bf16 would lose the small parts."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def log_probabilities(logits_V: Tensor) -> Tensor:
    return wide(logits_V).log_softmax(-1)


@torch.no_grad()
def logit_lens(
    model: Transformer,
    ids: Sequence[int],
    positions: Sequence[int] | None = None,
    translators: Translators | None = None,
) -> Tensor:
    """Log-probabilities of the next token at each reading, (R, P, V); by default at every position.

    With n tokens of text and V = 50,000 all positions are R * n * 0.2 MB: ask for those you look at.
    """
    ids_BT = prompt_row(model, ids)
    chosen_P = [checked_position(p, len(ids)) for p in (range(len(ids)) if positions is None else positions)]
    rows = [row_BTD[0, chosen_P] for row_BTD in residual_rows(model, ids_BT)]
    if translators is not None:
        rows = [translators(row_PD, i) for i, row_PD in enumerate(rows)]
    return torch.stack([log_probabilities(read_out(model, row_PD)) for row_PD in rows])
