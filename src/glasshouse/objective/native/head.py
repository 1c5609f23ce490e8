"""Log-probabilities, entropies and gradients of a linear head by C++ (head.cpp has the equations).

Shapes: M targets, D model, V vocabulary.  Units: nats.
C++ checks nothing, so everything that reaches it is checked here.
Left out: second derivatives.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.core.native import is_available
from glasshouse.core.native import library as build
from glasshouse.model.native import computes_in_autocast


class _Head(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("n_tokens", "d_model", "n_vocab", "is_bf16")],
        *[(name, ctypes.c_void_p) for name in ("hidden", "weight", "target")],
        ("temperature", ctypes.c_float),
        *[(name, ctypes.c_void_p) for name in ("d_logp", "d_entropy", "logp", "entropy", "d_hidden", "d_weight")],
    ]


@cache
def _library() -> ctypes.CDLL:
    loaded = build(Path(__file__).with_name("head.cpp"))
    loaded.head_room.argtypes, loaded.head_room.restype = [ctypes.POINTER(_Head), ctypes.c_int32], ctypes.c_int64
    loaded.head.argtypes, loaded.head.restype = [ctypes.POINTER(_Head), ctypes.c_void_p, ctypes.c_int32], None
    return loaded


def is_native(hidden_MD: Tensor, head_weight_VD: Tensor) -> bool:
    """fp32 on the CPU, at least one target, and a library.  A model trained by torch alone does not ask.

    Under autocast the products are of bf16, where the processor has them.
    """
    is_plain = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in (hidden_MD, head_weight_VD))
    is_eager = not torch.compiler.is_compiling() and computes_in_autocast()
    return is_plain and is_eager and hidden_MD.shape[0] > 0 and is_available(_library)


def loss_and_gradients(hidden_MD: Tensor, head_weight_VD: Tensor, targets_M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(sum of -ln p, its gradient by the hidden states, by the head)."""
    pull_M = torch.full((len(targets_M),), -1.0)
    logp_M, _, d_hidden_MD, d_head_VD = _run(
        hidden_MD, head_weight_VD, targets_M, 1.0, False, (pull_M, None), is_bf16=torch.is_autocast_enabled("cpu")
    )
    return -logp_M.sum(), d_hidden_MD, d_head_VD


def log_probabilities(
    hidden_MD: Tensor, head_weight_VD: Tensor, targets_M: Tensor, temperature: float, has_entropy: bool
) -> Tensor:
    """(2, M): log-probability of each target at `temperature`, and the entropy, 0 where it is not asked for."""
    both_2M: Tensor = _LogProbabilities.apply(  # type: ignore[no-untyped-call]
        hidden_MD, head_weight_VD, targets_M, temperature, has_entropy
    )
    return both_2M


class _LogProbabilities(torch.autograd.Function):
    """The logits are made once more in the backward pass: a token's gradient depends on what a loss makes of it."""

    @staticmethod
    def forward(
        ctx: Any, hidden_MD: Tensor, head_weight_VD: Tensor, targets_M: Tensor, temperature: float, has_entropy: bool
    ) -> Tensor:
        ctx.save_for_backward(hidden_MD, head_weight_VD, targets_M)
        ctx.temperature, ctx.has_entropy, ctx.is_bf16 = temperature, has_entropy, torch.is_autocast_enabled("cpu")
        logp_M, entropy_M, _, _ = _run(
            hidden_MD, head_weight_VD, targets_M, temperature, has_entropy, None, is_bf16=ctx.is_bf16
        )
        return torch.stack((logp_M, entropy_M))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError("the compiled head has no second derivative; set kernels='torch' for the model.")
        d_logp_M, d_entropy_M = grads[0].contiguous().unbind(0)
        given = (d_logp_M, d_entropy_M if ctx.has_entropy else None)
        hidden_MD, head_weight_VD, targets_M = ctx.saved_tensors
        _, _, d_hidden_MD, d_head_VD = _run(
            hidden_MD, head_weight_VD, targets_M, ctx.temperature, ctx.has_entropy, given, is_bf16=ctx.is_bf16
        )
        return d_hidden_MD, d_head_VD, None, None, None


def _run(
    hidden_MD: Tensor, head_weight_VD: Tensor, targets_M: Tensor, temperature: float, has_entropy: bool,
    gradients: tuple[Tensor, Tensor | None] | None, *, is_bf16: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """(log-probabilities, entropies, gradient by hidden, by head); the last two are empty without `gradients`."""
    hidden_MD, weight_VD = hidden_MD.detach().contiguous(), head_weight_VD.detach().contiguous()
    targets_M = targets_M.to(torch.int64).contiguous()
    _check(hidden_MD, weight_VD, targets_M)
    (n_tokens, d_model), n_vocab = hidden_MD.shape, len(weight_VD)
    logp_M, entropy_M = torch.empty(n_tokens), torch.zeros(n_tokens)
    d_logp, d_entropy = (None, None) if gradients is None else gradients
    d_hidden_MD, d_weight_VD = (torch.empty_like(t) if gradients else t.new_empty(0) for t in (hidden_MD, weight_VD))
    head = _Head(
        n_tokens, d_model, n_vocab, is_bf16, hidden_MD.data_ptr(), weight_VD.data_ptr(), targets_M.data_ptr(),
        temperature, None if d_logp is None else d_logp.data_ptr(),
        None if d_entropy is None else d_entropy.data_ptr(), logp_M.data_ptr(),
        entropy_M.data_ptr() if has_entropy else None, d_hidden_MD.data_ptr(), d_weight_VD.data_ptr(),
    )  # fmt: skip
    kernels, n_threads = _library(), torch.get_num_threads()
    room = torch.empty(kernels.head_room(head, n_threads))
    kernels.head(head, room.data_ptr(), n_threads)
    return logp_M, entropy_M, d_hidden_MD, d_weight_VD


def _check(hidden_MD: Tensor, weight_VD: Tensor, targets_M: Tensor) -> None:
    if hidden_MD.shape != (len(targets_M), weight_VD.shape[1]):
        raise ConfigError(
            f"a head of shape {tuple(weight_VD.shape)} reads a row of {weight_VD.shape[1]} for each target; got "
            f"{tuple(hidden_MD.shape)} for {len(targets_M)} targets"
        )
    lowest, highest = torch.aminmax(targets_M)
    if lowest < 0 or highest >= len(weight_VD):
        raise ConfigError(f"targets go from 0 to {len(weight_VD) - 1}; got {int(lowest)} to {int(highest)}")
