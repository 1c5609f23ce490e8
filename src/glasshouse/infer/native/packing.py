"""Matrices in the order in which the kernels read them: panels of 32 outputs (gemm.h has the layouts).

Shapes: N outputs, K inputs, P panels, G groups, H head, F ffn.  All padding is zeros, which add nothing.
Rows are arranged before they are packed, so the same few functions serve fp32, bf16, int8 codes and scales alike.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from glasshouse.infer.quantize import GROUP, QuantizedMatrix, Weights
from glasshouse.model import ModelConfig

LANES, PANEL = 16, 32
FP32, BF16, INT8, INT4 = range(4)  # enum Format
Arrange = Callable[[Tensor], Tensor]  # (N, anything) to (N', anything)


def padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit


@dataclass(frozen=True, slots=True)
class PackedMatrix:
    """`data` and `scale` own the memory the kernels read."""

    data: Tensor
    scale: Tensor | None
    format: int
    n_outputs: int  # that are written: those of the panels, or fewer
    n_inputs: int  # padded


def pack(weight: Tensor | QuantizedMatrix, n_outputs: int | None = None) -> PackedMatrix:
    """`n_outputs` stops the writing of outputs there; by default whole panels are written."""
    if isinstance(weight, QuantizedMatrix):
        return _pack_codes(weight, n_outputs)
    weight_NK = _pad(weight, LANES)
    data = weight_NK.unflatten(0, (-1, PANEL)).transpose(1, 2).contiguous()
    format = BF16 if weight.dtype == torch.bfloat16 else FP32
    return PackedMatrix(data, None, format, n_outputs or len(weight_NK), weight_NK.shape[1])


def _pack_codes(matrix: QuantizedMatrix, n_outputs: int | None) -> PackedMatrix:
    code_NK = _pad(matrix.code_NK, GROUP)
    quads_PQNk = code_NK.unflatten(0, (-1, PANEL)).unflatten(2, (-1, 4)).transpose(1, 2)
    data = (quads_PQNk.short() + (128 if matrix.bits == 8 else 8)).to(torch.uint8).contiguous()
    if matrix.bits == 4:
        data = data[:, :, :LANES] | (data[:, :, LANES:] << 4)
    scale_PGN = _pad(matrix.scale_NG, 1).unflatten(0, (-1, PANEL)).transpose(1, 2).contiguous()
    format = INT8 if matrix.bits == 8 else INT4
    return PackedMatrix(data.contiguous(), scale_PGN, format, n_outputs or len(code_NK), code_NK.shape[1])


def _pad(matrix_NK: Tensor, unit: int) -> Tensor:
    n, k = matrix_NK.shape
    return F.pad(matrix_NK, (0, -k % unit, 0, -n % PANEL))


def arranged(weights: list[Tensor | QuantizedMatrix], arrange: Callable[[list[Tensor]], Tensor]) -> (
    Tensor | QuantizedMatrix
):  # fmt: skip
    """One matrix of several that read the same inputs; `arrange` puts their rows in order."""
    first = weights[0]
    if not isinstance(first, QuantizedMatrix):
        return arrange([w for w in weights if isinstance(w, Tensor)])
    matrices = [w for w in weights if isinstance(w, QuantizedMatrix)]
    return replace(
        first, code_NK=arrange([m.code_NK for m in matrices]), scale_NG=arrange([m.scale_NG for m in matrices])
    )


def heads_in_rows(d_head: int, stride: int) -> Callable[[list[Tensor]], Tensor]:
    """Heads one after the other, each `stride` rows."""

    def arrange(parts: list[Tensor]) -> Tensor:
        return torch.cat([F.pad(p.unflatten(0, (-1, d_head)), (0, 0, 0, stride - d_head)).flatten(0, 1) for p in parts])

    return arrange


def gates_beside_values(parts: list[Tensor]) -> Tensor:
    """Sixteen gates, then the sixteen values they gate: a panel holds both.  F rounded up to whole groups."""
    parts_F = [F.pad(p, (0, 0, 0, -len(p) % GROUP)).unflatten(0, (-1, LANES)) for p in parts]
    return torch.stack(parts_F, dim=1).flatten(0, 2)


BYTES: dict[Weights, float] = {"fp32": 4, "bf16": 2, "int8": 1 + 2 / GROUP, "int4": 0.5 + 2 / GROUP}  # scales included


def packed_bytes(config: ModelConfig, weights: Weights) -> int:
    """What all of a model's tensors take in this form: known before any of them is read."""
    stride, unit = padded(config.d_head, PANEL), GROUP if weights in ("int8", "int4") else LANES
    heads, d_ff = config.n_heads * config.d_head, padded(config.d_ff, GROUP)
    shapes = (
        ((config.n_heads + 2 * config.n_kv_heads) * stride, config.d_model),
        (config.d_model, heads), (2 * d_ff, config.d_model), (config.d_model, config.d_ff),
    )  # fmt: skip
    in_layer = sum(padded(n, PANEL) * padded(k, unit) for n, k in shapes) * BYTES[weights]
    norms = 4 * (2 * padded(config.d_model, GROUP) + 2 * stride * config.has_qk_norm)
    ends = padded(config.vocab_size, PANEL) * padded(config.d_model, unit) * (1 if config.ties_embeddings else 2)
    tables = 4 * (padded(config.d_model, GROUP) + 2 * config.max_seq_len * config.d_head)
    return int(config.n_layers * (in_layer + norms) + ends * BYTES["int8" if weights == "int4" else weights] + tables)
