"""Weights as small integers with a scale for every 64 of them, made once and kept beside the checkpoint.

    w[n, k] = code[n, k] * scale[n, k // 64]        codes -127..127 (int8) or -8..7 (int4), scales in bf16
    y[t, n] = sum over groups g of (sum over k in g of x_code[t, k] * code[n, k]) * (scale[n, g] * x_scale[t, g])

Activations are rounded when they meet such a matrix: 7 bits (-63..63), one scale a row and group.  7 and not 8, because
255 * 63 * 2 fits the 16-bit sums of processors without VNNI: every machine computes the same integers, and the group
scales are worth more than the bit (tests compare).  Embeddings and head stay int8 in "int4", as llama.cpp keeps them.
Norms are never rounded.

Shapes: T tokens, N outputs, K inputs, G groups.  Source of the scheme: arXiv:2206.01861 (group-wise weights, dynamic
activations).  Left out: calibration (GPTQ, AWQ), zero points.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from glasshouse.checkpoint.load import load_config
from glasshouse.checkpoint.weights import EMBEDDING, HEAD, iterate_tensors, weight_files
from glasshouse.core.errors import CheckpointError, ConfigError
from glasshouse.core.files import sha256_file, sha256_text, sync_directory
from glasshouse.model import ModelConfig, Transformer

Weights = Literal["fp32", "bf16", "int8", "int4"]
QuantizedWeights = Literal["int8", "int4"]
GROUP = 64
ACTIVATION_MAX = 63
LIMITS: dict[int, tuple[int, int]] = {8: (-127, 127), 4: (-8, 7)}
FORMAT_VERSION = "1"  # of the files; another one is made anew
FOLDER = Path("glasshouse") / "quantized"
CODE, SCALE, SIZE = ".code", ".scale", ".size"


@dataclass(frozen=True, slots=True)
class QuantizedMatrix:
    """`code_NK` is int8 with K rounded up to whole groups (zeros), `scale_NG` bf16, `n_inputs` the true K."""

    code_NK: Tensor
    scale_NG: Tensor
    n_inputs: int
    bits: int

    def dequantize(self) -> Tensor:
        """The fp32 matrix these codes stand for, (N, true K)."""
        return _scaled(self.code_NK.float(), self.scale_NG.float())[:, : self.n_inputs]


def quantize_matrix(weight_NK: Tensor, bits: int) -> QuantizedMatrix:
    """Nearest codes.  int8 scales reach the largest weight; int4 scales are those of least squared error."""
    n_inputs = weight_NK.shape[1]
    weight_NGk = F.pad(weight_NK.float(), (0, -n_inputs % GROUP)).unflatten(1, (-1, GROUP))
    scale_NG = _scale_to_peak(weight_NGk, bits) if bits == 8 else _scale_of_least_error(weight_NGk, bits)
    code_NK = _codes(weight_NGk, scale_NG, bits).flatten(1).to(torch.int8)
    return QuantizedMatrix(code_NK, scale_NG.bfloat16(), n_inputs, bits)


def _scale_to_peak(weight_NGk: Tensor, bits: int) -> Tensor:
    return (weight_NGk.abs().amax(-1) / LIMITS[bits][1]).bfloat16().float()


def _scale_of_least_error(weight_NGk: Tensor, bits: int) -> Tensor:
    """Of both signs: the range has one step more below zero, which the larger side may use."""
    peak_NG = weight_NGk.gather(-1, weight_NGk.abs().argmax(-1, keepdim=True)).squeeze(-1)
    best_NG = torch.zeros_like(peak_NG)
    least_NG = torch.full_like(peak_NG, torch.inf)
    for reach in (-8.5, -8.0, -7.5, -7.0, -6.5, -6.0, 6.0, 6.5, 7.0):
        scale_NG = (peak_NG / reach).bfloat16().float()
        error_NG = (_codes(weight_NGk, scale_NG, bits) * scale_NG[..., None] - weight_NGk).square().sum(-1)
        best_NG = torch.where(error_NG < least_NG, scale_NG, best_NG)
        least_NG = torch.minimum(error_NG, least_NG)
    return best_NG


def _codes(weight_NGk: Tensor, scale_NG: Tensor, bits: int) -> Tensor:
    divisor_NG1 = torch.where(scale_NG == 0, torch.ones_like(scale_NG), scale_NG)[..., None]
    return (weight_NGk / divisor_NG1).round().clamp(*LIMITS[bits])


def _scaled(code_TK: Tensor, scale_TG: Tensor) -> Tensor:
    return (code_TK.unflatten(1, (-1, GROUP)) * scale_TG[..., None]).flatten(1)


def quantize_activations(x_TK: Tensor) -> tuple[Tensor, Tensor]:
    """(`code_TK` as whole floats, `scale_TG`), K already whole groups."""
    x_TGk = x_TK.unflatten(1, (-1, GROUP))
    peak_TG = x_TGk.abs().amax(-1)
    inverse_TG = torch.where(peak_TG < 1e-30, torch.zeros_like(peak_TG), ACTIVATION_MAX / peak_TG)
    return (x_TGk * inverse_TG[..., None]).round().flatten(1), peak_TG / ACTIVATION_MAX


def integer_linear(x_TK: Tensor, matrix: QuantizedMatrix) -> Tensor:
    """The arithmetic of the native kernels in plain torch: their oracle, and the way without a compiler (slow)."""
    x_TK = F.pad(x_TK.float(), (0, -matrix.n_inputs % GROUP))
    code_TK, x_scale_TG = quantize_activations(x_TK)
    scale_NG = matrix.scale_NG.float()
    y_TN = x_TK.new_zeros(len(x_TK), len(scale_NG))
    for g in range(scale_NG.shape[1]):
        inputs = slice(g * GROUP, (g + 1) * GROUP)
        # whole numbers below 2^24: fp32 adds them exactly, in any order
        dot_TN = code_TK[:, inputs] @ matrix.code_NK[:, inputs].float().T
        y_TN = y_TN + dot_TN * (x_scale_TG[:, g, None] * scale_NG[:, g])
    return y_TN


class QuantizedLinear(nn.Module):
    def __init__(self, matrix: QuantizedMatrix) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, x: Tensor) -> Tensor:
        return integer_linear(x.reshape(-1, x.shape[-1]), self.matrix).unflatten(0, x.shape[:-1])


def bits_of(name: str, weights: QuantizedWeights) -> int:
    """How many bits the matrix `name` is kept in."""
    return 4 if weights == "int4" and name not in (EMBEDDING, HEAD) else 8


def quantize_tensors(
    tensors: Iterable[tuple[str, Tensor]], weights: QuantizedWeights
) -> dict[str, Tensor | QuantizedMatrix]:
    """Every matrix quantized, every norm as it is, under its published name."""
    return {n: quantize_matrix(t, bits_of(n, weights)) if t.ndim == 2 else t.float() for n, t in tensors}


def quantize(folder: Path | str, weights: QuantizedWeights) -> Path:
    """The file of quantized weights beside the checkpoint, made if it is missing or its source has changed.

    Written whole or not at all; two processes that make it at once make the same weights.
    """
    folder = Path(folder)
    path = quantized_path(folder, weights)
    source = source_hash(folder)
    if _recorded_source(path) == source:
        return path
    load_config(folder)  # a folder that is no model is refused before any work
    stored: dict[str, Tensor] = {}
    for file in weight_files(folder):
        for name, matrix in quantize_tensors(iterate_tensors(folder / file), weights).items():
            stored.update(_to_stored(name, matrix))
    metadata = {"format": "pt", "version": FORMAT_VERSION, "weights": weights, "group": str(GROUP), "source": source}
    _write(path, stored, metadata)
    return path


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, metadata=metadata)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_metadata(path: Path, more: Mapping[str, str]) -> None:
    """Add to what a file of quantized weights says of itself."""
    _write(path, dict(iterate_tensors(path)), {**read_metadata(path), **more})


def read_metadata(path: Path) -> dict[str, str]:
    """What a file of quantized weights says of itself; nothing where it is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        return {}


def load_quantized(folder: Path | str, weights: QuantizedWeights) -> dict[str, Tensor | QuantizedMatrix]:
    """The quantized weights of a checkpoint under their published names; a file of other weights is refused."""
    folder = Path(folder)
    path = quantized_path(folder, weights)
    if _recorded_source(path) != source_hash(folder):
        raise CheckpointError(
            f"{path}: missing, or not made of the weights that lie beside it. Make it anew: quantize({str(folder)!r})."
        )
    stored = dict(iterate_tensors(path))
    return {name.removesuffix(CODE): _from_stored(name, stored) for name in stored if not name.endswith((SCALE, SIZE))}


def check_fits(config: ModelConfig, tensors: Mapping[str, Tensor | QuantizedMatrix], path: Path) -> None:
    """Raise where the weights are not those that config.json calls for: kernels index without asking."""
    wanted = {name: tuple(p.shape) for name, p in Transformer.blank(config).named_parameters()}
    for name, shape in wanted.items():
        if name not in tensors or _shape(tensors[name]) != shape:
            found = f"is {_shape(tensors[name])}" if name in tensors else "is missing"
            raise CheckpointError(f"{path}: {name} {found}, but config.json calls for {shape}: they do not belong "
                                  "together.")  # fmt: skip
    if HEAD in tensors and HEAD not in wanted and not _are_equal(tensors[HEAD], tensors[EMBEDDING]):
        raise CheckpointError(f"{path}: config.json says tie_word_embeddings, but the stored {HEAD} differs.")


def _shape(value: Tensor | QuantizedMatrix) -> tuple[int, ...]:
    return (len(value.code_NK), value.n_inputs) if isinstance(value, QuantizedMatrix) else tuple(value.shape)


def _are_equal(a: Tensor | QuantizedMatrix, b: Tensor | QuantizedMatrix) -> bool:
    if not (isinstance(a, QuantizedMatrix) and isinstance(b, QuantizedMatrix)):
        return False
    return torch.equal(a.code_NK, b.code_NK) and torch.equal(a.scale_NG, b.scale_NG)


def quantized_path(folder: Path, weights: QuantizedWeights) -> Path:
    if weights not in ("int8", "int4"):
        raise ConfigError(f"weights can be quantized to int8 or int4; got {weights!r}")
    return Path(folder) / FOLDER / f"{weights}.safetensors"


def source_hash(folder: Path) -> str:
    """Of the files that hold the weights (1 GB a second)."""
    return sha256_text("".join(sha256_file(folder / name) for name in weight_files(folder)))


def _recorded_source(path: Path) -> str | None:
    """The hash of the weights a file was made of; None where there is no such file, or no use for it."""
    metadata = read_metadata(path)
    return metadata.get("source") if metadata.get("version") == FORMAT_VERSION else None


def _to_stored(name: str, value: Tensor | QuantizedMatrix) -> dict[str, Tensor]:
    if isinstance(value, Tensor):
        return {name: value}
    code = value.code_NK
    if value.bits == 4:
        code = ((code[:, ::2] + 8) | ((code[:, 1::2] + 8) << 4)).to(torch.uint8)
    return {name + CODE: code, name + SCALE: value.scale_NG, name + SIZE: torch.tensor([value.n_inputs, value.bits])}


def _from_stored(name: str, stored: Mapping[str, Tensor]) -> Tensor | QuantizedMatrix:
    if not name.endswith(CODE):
        return stored[name]
    base = name.removesuffix(CODE)
    n_inputs, bits = stored[base + SIZE].tolist()
    code = stored[name]
    if bits == 4:
        code = torch.stack((code & 15, code >> 4), dim=-1).flatten(1).to(torch.int8) - 8
    return QuantizedMatrix(code, stored[base + SCALE], n_inputs, bits)


def quantized_transformer(config: ModelConfig, tensors: Mapping[str, Tensor | QuantizedMatrix]) -> Transformer:
    """The same arithmetic as a torch module, but for what meets the head, which is not rounded.  Slow: for machines
    without a compiler, and for looking inside."""
    model = Transformer(config, seed=None)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = tensors[name]
            parameter.copy_(value.dequantize() if isinstance(value, QuantizedMatrix) else value)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name != "lm_head":
            parent, _, child = name.rpartition(".")
            matrix = tensors[name + ".weight"]
            assert isinstance(matrix, QuantizedMatrix)
            setattr(model.get_submodule(parent), child, QuantizedLinear(matrix))
    return model.eval()
