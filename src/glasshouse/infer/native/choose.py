"""The runner for a model on this machine: native on a CPU with a compiler, else torch; the same weights in both."""

from collections.abc import Mapping

import torch
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.infer.native.kernels import why_unavailable
from glasshouse.infer.native.runner import NativeRunner, converted
from glasshouse.infer.quantize import QuantizedMatrix, Weights, quantized_transformer
from glasshouse.infer.runner import BLOCK_SIZE, TorchRunner
from glasshouse.model import ModelConfig, Transformer


def why_torch(config: ModelConfig) -> str | None:
    """None where the native runner runs this model on a CPU, else one line that says why not."""
    if config.window is not None:
        return "the compiled kernels have no windows; the plain torch runner is used, which is slower."
    return why_unavailable()


def best_runner(
    model: Transformer,
    *,
    n_blocks: int,
    block_size: int = BLOCK_SIZE,
    weights: Weights = "fp32",
    quantized: Mapping[str, Tensor | QuantizedMatrix] | None = None,
) -> NativeRunner | TorchRunner:
    """`quantized`: what `load_quantized` read from disk; without it the model's own weights are converted.
    `why_torch(config)` is the line to show when this is not a `NativeRunner` on a CPU."""
    is_integer = weights in ("int8", "int4")
    if model.device.type != "cpu":
        if is_integer:
            raise ConfigError(f"weights={weights!r} runs on the CPU only; this model is on {model.device}. Use bf16.")
        return TorchRunner(model, n_blocks, block_size)
    if why_torch(model.config) is not None:
        return TorchRunner(torch_model(model, weights, quantized), n_blocks, block_size)
    source = quantized if is_integer and quantized is not None else converted(model, weights)
    return NativeRunner(model.config, source, n_blocks=n_blocks, block_size=block_size)


def torch_model(
    model: Transformer, weights: Weights, quantized: Mapping[str, Tensor | QuantizedMatrix] | None = None
) -> Transformer:
    """The same weights as the native runner would hold, in torch.  Bf16 changes `model` itself."""
    if weights == "fp32":
        return model
    if weights == "bf16":
        return model.to(torch.bfloat16)
    return quantized_transformer(model.config, quantized or converted(model, weights))
