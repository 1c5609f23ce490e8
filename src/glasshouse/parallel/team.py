"""One model trained by the processes of a mesh: what each computes, and what they agree on.

Every rank reads the same batch and takes its part; gradients are sums over ranks; loss, gradient norm and flags are
agreed in one small sum a step, so that every rank judges alike.  A team of one is an ordinary model.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from glasshouse.parallel.collectives import gather, gather_values
from glasshouse.parallel.launch import absent_ranks
from glasshouse.parallel.mesh import Mesh
from glasshouse.parallel.pipeline import Stage, stage_of
from glasshouse.parallel.replicas import sum_gradients
from glasshouse.parallel.sequence import SharedContext
from glasshouse.parallel.sharded import local, settle_gradients, square_norm, whole

PATIENCE_S = 10.0


class Team:
    """`trained` is the model as an objective sees it; `module` holds the parameters that live here."""

    def __init__(self, module: Any, mesh: Mesh) -> None:
        self.module, self.mesh = module, mesh
        self.trained = module

    @property
    def is_main(self) -> bool:
        return self.mesh.is_main

    @property
    def is_divided(self) -> bool:
        """Whether the weights lie in pieces (not merely in copies)."""
        return False

    @property
    def loss_scale(self) -> float:
        """Factor of the loss before the backward pass, so that the summed gradients are those of the whole batch."""
        return 1.0

    @property
    def hand_on(self) -> Callable[[Tensor], Tensor] | None:
        """None where the last layers are, and so the loss; else what takes its place: hidden states to a number whose
        backward pass waits for their gradient."""
        return None

    @property
    def n_ahead(self) -> int:
        """How many microbatches go forward here before the first goes backward."""
        return 0

    def part(self, batch: Any) -> Any:
        """What of a batch is computed here."""
        return batch

    def agree(
        self, loss_sum: Tensor, parameters: Sequence[Tensor], more: Sequence[Tensor], flags: Sequence[float]
    ) -> tuple[list[float], list[float]]:
        """([sum of losses, norm of the whole gradient, *sums of `more`], sums of `flags`), the same on every rank.

        Gradients are made whole on the way.
        """
        grads = [p.grad for p in parameters if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        found: list[float] = torch.stack((loss_sum, norm, *more)).tolist()  # the one read from the device
        return found, list(flags)

    def every(self, value: float) -> list[float]:
        """What each rank gives, in order of rank."""
        return [value]

    def blame(self, losses: Sequence[float], n_rows: int) -> str:
        """In words: whose part of a batch of `n_rows` made the loss what it is."""
        return ""

    def absent_ranks(self) -> dict[int, str]:
        """Who does not answer any more: {rank: host and process}."""
        return {}

    def judge(self, evaluate: Callable[[Any], Mapping[str, float]]) -> Mapping[str, float]:
        """What `evaluate` finds of a model with these weights, on the main rank at least.  Collective."""
        return evaluate(self.module)

    def whole_model(self) -> Any:
        """An undivided model with these weights on the main rank, None elsewhere.  Collective."""
        return self.module


class Many(Team):
    """Two ranks or more."""

    def __init__(self, module: Any, mesh: Mesh, gathered: torch.dtype | None) -> None:
        super().__init__(module, mesh)
        self._gathered_as = gathered
        self._names = [name for name, _ in module.named_parameters()]
        self._stage: Stage | None = None
        self._twin = None
        if self.is_divided and mesh.is_main:
            self._twin = type(module).blank(module.config)
        self._divide()

    def _divide(self) -> None:
        sizes, devices = self.mesh.sizes, self.mesh.devices
        assert devices is not None
        if sizes["tp"] > 1:
            from glasshouse.parallel.tensor import divide_tensors

            divide_tensors(self.module, devices["tp"])
        if sizes["pp"] > 1:
            self._stage = Stage(self.module, self.mesh)
        if self.mesh.n_shards > 1:
            from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

            policy = MixedPrecisionPolicy(
                param_dtype=self._gathered_as, reduce_dtype=self._gathered_as and torch.float32
            )
            over: Any = devices["dp", "shard"] if sizes["dp"] > 1 else devices["shard"]
            for block in self.module.model.layers:
                if any(True for _ in block.parameters()):  # those of other stages have none
                    fully_shard(block, mesh=over, mp_policy=policy)
            fully_shard(self.module, mesh=over, mp_policy=policy)
            register_fsdp_forward_method(self.module, "hidden")
        if sizes["tp"] > 1 or sizes["cp"] > 1:
            self.trained = _Stretches(self.module, self.mesh, is_last=self.hand_on is None)

    @property
    def is_divided(self) -> bool:
        return self.mesh.n_shards > 1 or self.mesh.sizes["tp"] > 1 or self.mesh.sizes["pp"] > 1

    @property
    def hand_on(self) -> Callable[[Tensor], Tensor] | None:
        return None if self._stage is None or self._stage.is_last else self._stage.hand_on

    @property
    def n_ahead(self) -> int:
        return 0 if self._stage is None else self._stage.n_ahead

    @property
    def loss_scale(self) -> float:
        """FSDP takes means over the axes it sums over."""
        return float(self.mesh.sizes["dp"] * self.mesh.n_shards) if self.mesh.n_shards > 1 else 1.0

    def part(self, batch: Any) -> Any:
        tp = self.mesh.sizes["tp"]
        return batch.part(self.mesh.rows, self.mesh.columns, tp)

    def agree(
        self, loss_sum: Tensor, parameters: Sequence[Tensor], more: Sequence[Tensor], flags: Sequence[float]
    ) -> tuple[list[float], list[float]]:
        """Every rank adds its share; those of one `tp` group hold the same loss, stages without one hold 0."""
        settle_gradients(parameters)
        counted = parameters
        if self._stage is not None:
            self._stage.settle()
            if self._stage.is_last:  # the first stage counts what both hold
                counted = [p for p in parameters if p is not self._stage.twin]
        if self.mesh.sizes["dp"] > 1 and self.mesh.n_shards == 1:
            sum_gradients([local(p.grad) for p in parameters if p.grad is not None], self.mesh.group("dp"))
        square = square_norm(counted, self.mesh.stage_size)
        sums = torch.stack([square, *(value.double() for value in (loss_sum, *more))])
        sums = torch.cat((sums, torch.tensor(flags, dtype=torch.float64, device=sums.device)))
        sums[1:] /= self.mesh.sizes["tp"]
        dist.all_reduce(sums)
        square_sum, loss, *rest = sums.tolist()
        return [loss, math.sqrt(square_sum), *rest[: len(more)]], rest[len(more) :]

    def every(self, value: float) -> list[float]:
        return gather_values(torch.tensor(value, dtype=torch.float64, device=self.module.device))

    def blame(self, losses: Sequence[float], n_rows: int) -> str:
        parts = [self.mesh.rows_of(rank) for rank, loss in enumerate(losses) if not math.isfinite(loss)]
        if not parts or len(set(parts)) == self.mesh.rows[1]:
            return ""
        size = -(-n_rows // self.mesh.rows[1])
        rows = ", ".join(f"{part * size} to {min(n_rows, (part + 1) * size) - 1}" for part in sorted(set(parts)))
        ranks = ", ".join(str(rank) for rank, loss in enumerate(losses) if not math.isfinite(loss))
        return f" on rank {ranks} (rows {rows} of the batch)"

    def absent_ranks(self) -> dict[int, str]:
        """Asked when a collective failed: whoever is alive has noticed too, or will within a step's time."""
        return absent_ranks(self.mesh, min(PATIENCE_S, self.mesh.timeout_s))

    def judge(self, evaluate: Callable[[Any], Mapping[str, float]]) -> Mapping[str, float]:
        """By all ranks with the pieces they have, which nobody need hold together; but from whole weights, by the main
        rank, where rows or layers are shared out."""
        if not self.is_divided or self.mesh.sizes["cp"] * self.mesh.sizes["pp"] > 1:
            model = self.whole_model()
            return {} if model is None else evaluate(model)
        found = evaluate(self.trained)
        if self.mesh.n_shards > 1:
            self.module.reshard()  # embedding and head stay gathered after a forward pass
        return found

    def whole_model(self) -> Any:
        if not self.is_divided:
            return self.module if self.is_main else None
        if self._twin is not None and self._twin.device.type == "meta":
            self._twin.to_empty(device=self.module.device)
        here, wanted = (dict(m.named_parameters()) if m is not None else {} for m in (self.module, self._twin))
        with torch.no_grad():
            for name in self._names:
                found = self._gathered(name, here, wanted)
                if name in wanted:
                    wanted[name].copy_(found)
        return self._twin

    def _gathered(self, name: str, here: Mapping[str, Any], wanted: Mapping[str, Any]) -> Any:
        """All of a parameter, on the main rank at least.  Collective."""
        stage = 0 if self._stage is None else stage_of(name, self.module.config.n_layers, self.mesh.sizes["pp"])
        full = whole(here[name]) if stage == self.mesh.place("pp") else None
        if stage and self.mesh.rank % self.mesh.stage_size == 0:  # the main rank's line
            if full is not None:
                dist.send(full.contiguous(), group=self.mesh.group("pp"), group_dst=0)
            elif self.is_main:
                full = torch.empty_like(wanted[name])
                dist.recv(full, group=self.mesh.group("pp"), group_src=stage)
        return full


class _Stretches:
    """The model whose hidden states lie in stretches: positions and attention shared over `cp`; over `tp` gathered,
    where a loss is taken of them."""

    def __init__(self, module: Any, mesh: Mesh, *, is_last: bool) -> None:
        self._module, self._mesh, self._is_gathered = module, mesh, is_last and mesh.sizes["tp"] > 1

    @property
    def head_weight_VD(self) -> Any:
        return self._module.head_weight_VD

    @property
    def device(self) -> torch.device:
        device: torch.device = self._module.device
        return device

    def hidden(self, ids_BT: Tensor, *, document_BT: Tensor | None = None) -> Tensor:
        n_time = ids_BT.shape[1]
        if self._is_gathered and (n_missing := -n_time % self._mesh.sizes["tp"]):  # a text to judge by, of any length
            ids_BT = F.pad(ids_BT, (0, n_missing))
            document_BT = None if document_BT is None else F.pad(document_BT, (0, n_missing))
        context: dict[str, Any] = {"document_BT": document_BT}
        if self._mesh.sizes["cp"] > 1:
            pages = SharedContext(
                self._mesh.group("cp"), self._mesh.place("cp"), ids_BT.shape[1], document_BT, ids_BT.device
            )
            context = {"pages": pages, "position_BT": pages.position_1T}
        hidden_BTD: Tensor = self._module.hidden(ids_BT, **context)
        return gather(hidden_BTD, 1, self._mesh.group("tp"))[:, :n_time] if self._is_gathered else hidden_BTD


def apply_plan(module: Any, mesh: Mesh, gathered: torch.dtype | None = None) -> Team:
    """Divide `module` in place as `mesh` says, from outside: its code knows nothing of it.

    gathered: the type in which weights in pieces (FSDP) are gathered to be computed with; None: their own.
    """
    return Many(module, mesh, gathered) if mesh.world_size > 1 else Team(module, mesh)
