"""Tensor parallelism with sequence parallelism, applied from outside to a single-device transformer.

Shapes: B rows, T tokens, D model, V vocabulary.  Source: arXiv:2205.05198.
Query, key, value, gate and up are cut by outputs (heads stay whole), their partners o and down by inputs; the embedding
and the head by words.  Between blocks a process holds a stretch of the tokens, so norms and residuals are divided too.
Parameters are DTensors, known to the optimizer and to checkpoints; what is computed with are their local pieces.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from glasshouse.parallel.collectives import gather, scatter_sum

BY_OUTPUT = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
BY_INPUT = ("self_attn.o_proj", "mlp.down_proj")


def divide_tensors(model: Any, mesh: DeviceMesh) -> None:
    """Cut the weights of `model` over the one axis of `mesh`; its `hidden` then returns a stretch of tokens."""
    group = mesh.get_group()
    for norm in (module for name, module in model.named_modules() if name.endswith("norm")):
        _divide(norm, mesh, None)
        norm.forward = partial(_norm, norm)
    for block in model.model.layers:
        for name in BY_OUTPUT:
            _divide_linear(block.get_submodule(name), mesh, 0)
        for name in BY_INPUT:
            _divide_linear(block.get_submodule(name), mesh, 1)
        for part in (block.self_attn, block.mlp):
            part.register_forward_pre_hook(lambda _, args: (gather(args[0], 1, group), *args[1:]))
            part.register_forward_hook(lambda _, args, out: scatter_sum(out, 1, group))
        block.self_attn.n_heads //= mesh.size()
        block.self_attn.n_kv_heads //= mesh.size()
    embedding = model.model.embed_tokens
    _divide(embedding, mesh, 0)
    n_words = -(-embedding.num_embeddings // mesh.size())
    embedding.forward = partial(_embed, embedding, mesh.get_local_rank() * n_words)
    embedding.register_forward_hook(lambda _, args, out: scatter_sum(out, 1, group))
    if model.lm_head is not None:
        _divide(model.lm_head, mesh, 0)


def _divide(module: nn.Module, mesh: DeviceMesh, dim: int | None) -> None:
    """Replace the weight by its piece along `dim`; None: every process keeps all of it."""
    from torch.distributed.tensor import DTensor, Replicate, Shard

    weight: Any = module.weight
    rank, n = mesh.get_local_rank(), mesh.size()
    piece = weight.detach() if dim is None else weight.detach().chunk(n, dim)[rank].contiguous()
    placement = Replicate() if dim is None else Shard(dim)
    divided = DTensor.from_local(piece, mesh, [placement], run_check=False, shape=weight.shape, stride=weight.stride())
    module.weight = nn.Parameter(divided)


def _divide_linear(linear: Any, mesh: DeviceMesh, dim: int) -> None:
    _divide(linear, mesh, dim)
    linear.forward = lambda x: linear.multiply(x, linear.weight.to_local())


def _norm(norm: Any, x: Tensor) -> Tensor:
    """Each process sees a part of the tokens, or of the heads: its gradient of the weight is a part of the sum."""
    from torch.distributed.tensor import Partial

    weight = norm.weight.to_local(grad_placements=[Partial()])
    out: Tensor = type(norm).forward(SimpleNamespace(weight=weight, eps=norm.eps), x)
    return out


def _embed(embedding: Any, first: int, ids_BT: Tensor) -> Tensor:
    """Rows of the words that lie here, zeros for the others': the sum over processes is the embedding."""
    table_VD = embedding.weight.to_local()
    own_BT = ids_BT - first
    is_here_BT = (own_BT >= 0) & (own_BT < table_VD.shape[0])
    rows_BTD = F.embedding(own_BT.where(is_here_BT, 0), table_VD)
    return torch.where(is_here_BT.unsqueeze(-1), rows_BTD, 0.0)
