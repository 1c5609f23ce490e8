"""The decoder as one function of autograd: hidden states by C++, and the gradient of every weight.

Shapes: B rows, T tokens, D model, H head.  fp32 on the CPU; equal to the torch modules to rounding, and to itself to
the bit on any number of threads.  Under autocast the products with weights are of bf16, and only they.
Left out: second derivatives, taps, caches, positions other than 0 to T - 1, gradients of RoPE's tables.
"""

import ctypes
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from glasshouse.core.errors import ConfigError
from glasshouse.model.config import ModelConfig
from glasshouse.model.native.block import Block, block_of
from glasshouse.model.native.kernels import Decoder, Rows, described, library, names_of


class Model(Protocol):
    """What a `Transformer` is, seen from here."""

    config: ModelConfig

    @property
    def model(self) -> nn.Module: ...

    @property
    def rotary(self) -> nn.Module: ...

    @property
    def kernels(self) -> str: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...


def hidden_states(model: Model, ids_BT: Tensor, document_BT: Tensor | None) -> Tensor:
    """What `Transformer.hidden` gives, (B, T, D)."""
    parameters = dict(model.model.named_parameters())
    weights = [parameters[name] for name in names_of(model.config)]
    ids_BT = ids_BT.detach().to(torch.int64).contiguous()
    _check_ids(ids_BT, model.config.vocab_size)
    start_BT = None if document_BT is None else first_positions(document_BT)
    hidden_BTD: Tensor = _Decoder.apply(  # type: ignore[no-untyped-call]
        model.config, block_of(model), ids_BT, start_BT, *model.rotary.buffers(), *weights
    )
    return hidden_BTD


def first_positions(document_BT: Tensor) -> Tensor:
    """Where the document of each token begins in its row, int32:

    >>> first_positions(torch.tensor([[7, 7, 3, 3, 3]])).tolist()
    [[0, 0, 2, 2, 2]]
    """
    position_T = torch.arange(document_BT.shape[1])
    is_new_BT = torch.ones_like(document_BT, dtype=torch.bool)
    is_new_BT[:, 1:] = document_BT[:, 1:] != document_BT[:, :-1]
    return torch.where(is_new_BT, position_T, 0).cummax(1).values.to(torch.int32).contiguous()


def _check_ids(ids_BT: Tensor, vocab_size: int) -> None:
    lowest, highest = torch.aminmax(ids_BT)
    if lowest < 0 or highest >= vocab_size:
        raise ConfigError(f"ids go from 0 to {vocab_size - 1}; got {int(lowest)} to {int(highest)}")


class _Decoder(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, config: ModelConfig, block: Block, ids_BT: Tensor, start_BT: Tensor | None, cos_TH: Tensor,
        sin_TH: Tensor, *weights: Tensor,
    ) -> Tensor:  # fmt: skip
        kernels, n_threads = library(), torch.get_num_threads()
        ctx.is_bf16 = torch.is_autocast_enabled("cpu")
        decoder, _layers = described(config, weights, cos_TH, sin_TH, ctx.is_bf16)
        rows = _rows(ids_BT, start_BT)
        kept = block.borrow(kernels.kept_size(ctypes.byref(decoder), ctypes.byref(rows)))
        room = _room(decoder, rows, n_threads)
        hidden_BTD = torch.empty(*ids_BT.shape, config.d_model)
        kernels.forward(decoder, rows, kept.data_ptr(), room.data_ptr(), hidden_BTD.data_ptr(), n_threads)
        ctx.save_for_backward(ids_BT, start_BT, cos_TH, sin_TH, kept, *weights)
        ctx.config = config
        return hidden_BTD

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the compiled training kernels have no second derivative (create_graph=True). "
                "Set kernels='torch' for the model to compute it."
            )
        ids_BT, start_BT, cos_TH, sin_TH, kept, *weights = ctx.saved_tensors
        kernels, n_threads = library(), torch.get_num_threads()
        gradients = [torch.empty_like(weight) for weight in weights]
        decoder, _layers = described(ctx.config, weights, cos_TH, sin_TH, ctx.is_bf16)
        gradient, _gradient_layers = described(ctx.config, gradients, cos_TH, sin_TH, ctx.is_bf16)
        rows = _rows(ids_BT, start_BT)
        room = _room(decoder, rows, n_threads)
        d_hidden = grads[0].contiguous()
        kernels.backward(decoder, gradient, rows, kept.data_ptr(), room.data_ptr(), d_hidden.data_ptr(), n_threads)
        return (None, None, None, None, None, None, *gradients)


def _rows(ids_BT: Tensor, start_BT: Tensor | None) -> Rows:
    return Rows(*ids_BT.shape, ids_BT.data_ptr(), None if start_BT is None else start_BT.data_ptr())


def _room(decoder: Decoder, rows: Rows, n_threads: int) -> Tensor:
    """Enough for either direction: what is freed after one pass fits the next.  Not kept, for between two steps the
    optimizer's copies take its place."""
    given = (ctypes.byref(decoder), ctypes.byref(rows), n_threads)
    return torch.empty(max(library().forward_room(*given), library().backward_room(*given)))
