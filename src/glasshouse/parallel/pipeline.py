"""Pipeline parallelism (1F1B): each process holds a stage of the layers, and microbatches flow through the stages.

Shapes: B rows, T tokens that lie here, D model.  Source: arXiv:2104.04473, 2.2.1.
A model is cut from outside: layers of other stages are passed over, so every weight keeps its name; where the embedding
was, a stage receives, and what it hands on is sent.  Both are functions of autograd, so that the backward pass of a
microbatch receives and sends gradients at the other ends, and a schedule is an order of forward and backward passes.
A tied embedding lies in the first stage and, as the head, in the last; the sum of both gradients updates both.
Left out: several stages in one process (interleaving), splitting backward passes (zero bubble).
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from glasshouse.parallel.mesh import Mesh
from glasshouse.parallel.sharded import local


class Stage:
    """This process's part of `module`, which is cut in place; its matrices may be divided already."""

    def __init__(self, module: Any, mesh: Mesh) -> None:
        self.place, self.n = mesh.place("pp"), mesh.sizes["pp"]
        self.is_first, self.is_last = self.place == 0, self.place == self.n - 1
        self._ahead, self._back, self._ends = mesh.group("pp"), mesh.lines["back"], mesh.lines["ends"]
        self._sending: list[tuple[Any, Tensor]] = []  # gradients on their way to the stage before
        self._dtype = module.dtype  # of what is handed on, whatever a stage computes in
        self._embedding: Any = None  # where it is tied, and this is one of the ends
        self._cut(module, mesh.sizes["tp"])

    @property
    def n_ahead(self) -> int:
        """Forward passes that go before the first backward pass."""
        return self.n - 1 - self.place

    @property
    def twin(self) -> Any:
        """The weight that lies in another stage too."""
        return None if self._embedding is None else self._embedding.weight

    def hand_on(self, hidden_BTD: Tensor) -> Tensor:
        """Send what this stage computed; 0, whose backward pass begins with the gradient that comes back."""
        zero: Tensor = _HandOn.apply(hidden_BTD.to(self._dtype), self)  # type: ignore[no-untyped-call]
        return zero

    def settle(self) -> None:
        """At the end of a step: wait for what is on its way, and sum the gradients of a tied embedding."""
        self._wait()
        if self.twin is not None:
            dist.all_reduce(local(self.twin.grad), group=self._ends)

    def _cut(self, module: Any, tp: int) -> None:
        decoder, config = module.model, module.config
        is_tied = module.lm_head is None
        for number in range(config.n_layers):
            if stage_of_layer(number, config.n_layers, self.n) != self.place:
                decoder.layers[number] = _Elsewhere()
        if not self.is_first:
            weight = decoder.embed_tokens.weight
            here = weight if is_tied and self.is_last else local(weight).detach().new_empty(0)
            decoder.embed_tokens = _Arrival(self, here, config.d_model, tp)
        if not self.is_last:
            decoder.norm, module.lm_head = _Elsewhere(), None
        if is_tied and (self.is_first or self.is_last):
            self._embedding = decoder.embed_tokens

    # What comes back tells that what went ahead has come; so nobody waits for a send that others wait behind.

    def _send_ahead(self, hidden_BTD: Tensor) -> Any:
        return dist.isend(hidden_BTD, group=self._ahead, group_dst=self.place + 1)

    def _receive_ahead(self, hidden_BTD: Tensor) -> None:
        dist.recv(hidden_BTD, group=self._ahead, group_src=self.place - 1)

    def _send_back(self, gradient_BTD: Tensor) -> None:
        """The stage before took the last one before it sent what this one answers."""
        self._wait()
        self._sending.append((dist.isend(gradient_BTD, group=self._back, group_dst=self.place - 1), gradient_BTD))

    def _receive_back(self, gradient_BTD: Tensor) -> None:
        dist.recv(gradient_BTD, group=self._back, group_src=self.place + 1)

    def _wait(self) -> None:
        while self._sending:
            self._sending.pop()[0].wait()


def stage_of_layer(number: int, n_layers: int, n_stages: int) -> int:
    return number // (n_layers // n_stages)


def stage_of(name: str, n_layers: int, n_stages: int) -> int:
    """Where a weight lies, by its published name (a tied embedding: in the first).

    >>> [stage_of(name, 4, 2) for name in ("model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight")]
    [0, 0]
    >>> [stage_of(name, 4, 2) for name in ("model.layers.2.input_layernorm.weight", "model.norm.weight")]
    [1, 1]
    """
    parts = name.split(".")
    if parts[1] == "layers":
        return stage_of_layer(int(parts[2]), n_layers, n_stages)
    return 0 if parts[1] == "embed_tokens" else n_stages - 1


class _Elsewhere(nn.Module):
    """What lies in another stage."""

    def forward(self, x_BTD: Tensor, *_: Any) -> Tensor:
        return x_BTD


class _Arrival(nn.Embedding):
    """In the embedding's place: what the stage before hands on.  `weight` is empty where it is not the head too."""

    def __init__(self, stage: Stage, weight: Any, d_model: int, tp: int) -> None:
        nn.Module.__init__(self)
        self._stage, self._d_model, self._tp = stage, d_model, tp
        if isinstance(weight, nn.Parameter):
            self.weight = weight
        else:
            self.register_buffer("weight", weight, persistent=False)

    def forward(self, ids_BT: Tensor) -> Tensor:
        n_rows, n_time = ids_BT.shape
        anchor = local(self.weight).detach().new_empty(0).requires_grad_()  # so that there is a backward pass
        shape = (n_rows, n_time // self._tp, self._d_model)
        hidden_BTD: Tensor = _Arrive.apply(anchor, shape, self._stage)  # type: ignore[no-untyped-call]
        return hidden_BTD


class _Arrive(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, shape: tuple[int, ...], stage: Stage) -> Tensor:
        ctx.stage = stage
        hidden_BTD = anchor.new_empty(shape)
        stage._receive_ahead(hidden_BTD)
        return hidden_BTD

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None]:
        ctx.stage._send_back(grads[0].contiguous())
        return None, None, None


class _HandOn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_BTD: Tensor, stage: Stage) -> Tensor:
        ctx.stage, ctx.sent_BTD = stage, hidden_BTD.detach().contiguous()
        ctx.sending = stage._send_ahead(ctx.sent_BTD)
        return hidden_BTD.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        gradient_BTD = torch.empty_like(ctx.sent_BTD)
        ctx.stage._receive_back(gradient_BTD)
        ctx.sending.wait()
        return gradient_BTD, None
