"""When the compiled decoder takes the place of the torch modules: on the CPU, in fp32, where gradients are wanted.

What decides is asked anew at every pass, for a model may have been moved, halved, wrapped or hooked since the last one.
`why_torch` is what does not change from pass to pass, in words.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from glasshouse.model.native.function import Model
from glasshouse.model.native.kernels import names_of, why_unavailable

Kernels = Literal["auto", "torch"]  # torch: never the compiled decoder


def why_torch(model: Model) -> str | None:
    """None where the compiled decoder would train this model, else why it does not."""
    if model.kernels != "auto":
        return "torch kernels asked for"
    if model.device.type != "cpu":
        return f"the compiled kernels are for the CPU, and the model is on {model.device.type}"
    if model.dtype != torch.float32:
        return f"the compiled kernels are for fp32, and the model is {model.dtype}"
    if not _has_published_weights(model):
        return "the model's weights are wrapped or added to"
    return why_unavailable()


def is_native(model: Model, document_BT: Tensor | None) -> bool:
    """Whether this pass, plain but for documents, is the compiled decoder's."""
    if model.kernels != "auto" or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    if torch.is_autocast_enabled("cpu") or why_torch(model) is not None or _has_hooks(model):
        return False
    return document_BT is None or has_unbroken_documents(document_BT)


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
