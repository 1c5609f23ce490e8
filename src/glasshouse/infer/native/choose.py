"""The runner for a model on this machine: native on a CPU with a compiler, else torch; the same weights in both."""

from collections.abc import Mapping

import torch
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.infer.native.build import why_unavailable
from glasshouse.infer.native.runner import NativeRunner, converted
from glasshouse.infer.quantize import QuantizedMatrix, Weights, quantized_transformer
from glasshouse.infer.runner import BLOCK_SIZE, Runner, TorchRunner
from glasshouse.model import Transformer


def best_runner(
    model: Transformer,
    *,
    n_blocks: int,
    block_size: int = BLOCK_SIZE,
    weights: Weights = "fp32",
    quantized: Mapping[str, Tensor | QuantizedMatrix] | None = None,
) -> Runner:
    """`quantized`: what `load_quantized` read from disk; without it the model's own weights are converted.
    `why_unavailable()` is the line to show when this is not a `NativeRunner` on a CPU."""
    is_integer = weights in ("int8", "int4")
    if model.device.type != "cpu":
        if is_integer:
            raise ConfigError(f"weights={weights!r} runs on the CPU only; this model is on {model.device}. Use bf16.")
        return TorchRunner(model, n_blocks, block_size)
    source = quantized if is_integer and quantized is not None else converted(model, weights)
    if why_unavailable() is None:
        return NativeRunner(model.config, source, n_blocks=n_blocks, block_size=block_size)
    if is_integer:
        model = quantized_transformer(model.config, source)
    elif weights == "bf16":
        model = model.to(torch.bfloat16)
    return TorchRunner(model, n_blocks, block_size)
