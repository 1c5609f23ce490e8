"""When the compiled decoder takes the place of the torch modules: on the CPU, where gradients are wanted.  Weights are
fp32; products are fp32 or, under autocast, bf16.

What decides is asked anew at every pass, for a model may have been moved, halved, wrapped or hooked since the last one.
`why_torch` is what does not change from pass to pass, in words.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from glasshouse.model.native.function import Model
from glasshouse.model.native.kernels import names_of, why_no_bf16, why_unavailable

Kernels = Literal["auto", "torch"]  # torch: never the compiled decoder


def why_torch(model: Model, is_bf16: bool = False) -> str | None:
    """None where the compiled decoder would train this model, with products in bf16 or not, else why it does not."""
    if model.kernels != "auto":
        return "torch kernels asked for"
    if model.device.type != "cpu":
        return f"the compiled kernels are for the CPU, and the model is on {model.device.type}"
    if model.dtype != torch.float32:
        return f"the compiled kernels are for fp32, and the model is {model.dtype}"
    if model.config.window is not None:
        return "the compiled kernels have no windows"
    if not _has_published_weights(model):
        return "the model's weights are wrapped or added to"
    return why_no_bf16() if is_bf16 else why_unavailable()


def is_native(model: Model, document_BT: Tensor | None) -> bool:
    """Whether this pass, plain but for documents, is the compiled decoder's."""
    if model.kernels != "auto" or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    if not computes_in_autocast() or why_torch(model) is not None or _has_hooks(model):
        return False
    return document_BT is None or has_unbroken_documents(document_BT)


def computes_in_autocast() -> bool:
    """Whether there is none on the CPU, or one whose type the compiled kernels have."""
    if not torch.is_autocast_enabled("cpu"):
        return True
    return torch.get_autocast_dtype("cpu") == torch.bfloat16 and why_no_bf16() is None


def has_unbroken_documents(document_BT: Tensor) -> bool:
    """Whether no number comes back after another one in its row."""
    n_runs = (document_BT[:, 1:] != document_BT[:, :-1]).sum()
    in_order_BT = document_BT.sort(1).values
    return bool(n_runs == (in_order_BT[:, 1:] != in_order_BT[:, :-1]).sum())


def _has_published_weights(model: Model) -> bool:
    """Plain fp32 parameters under the published names, and no others: no adapters, shards or replaced modules."""
    found = dict(model.model.named_parameters())
    return len(found) == len(names := names_of(model.config)) and all(
        type(p := found.get(name)) is nn.Parameter and p.dtype == torch.float32 and p.is_contiguous() for name in names
    )


def _has_hooks(model: Model) -> bool:
    """Whether somebody looks at, or changes, what passes between the modules."""
    return any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks
        for m in model.model.modules()
    )
