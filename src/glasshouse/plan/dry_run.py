"""One training step of a recipe's model on a world of any size, traced on one CPU: nothing is computed, all is counted.

The processes are one real rank and a fake group around it (`FakeStore`), the tensors have shapes and no contents
(`FakeTensorMode`), and the model is divided by the very code that divides it on a cluster (`parallel.apply_plan`).
Every operation is seen on its way (`TorchDispatchMode`): new storages count in, freed ones out, collectives are noted.
Units: bytes, seconds.  Memory is what tensors hold; allocators, contexts and buffers of the network come on top.
Left out: pipelines (a rank would have to wait for another's microbatch), context parallelism.
"""

import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from glasshouse.batch import LMBatch
from glasshouse.core.errors import ConfigError
from glasshouse.model import Keeps, ModelConfig, Transformer
from glasshouse.objective import lm_loss
from glasshouse.optim import OptimConfig, build_optimizer
from glasshouse.parallel import Mesh, MeshConfig, apply_plan, check_model, local
from glasshouse.train.recomputing import recompute


@dataclass(frozen=True, slots=True)
class Collective:
    """`n_bytes` of the larger side (what is gathered, or what is reduced), over all calls of the step."""

    kind: str
    n_ranks: int
    n_calls: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class DryRun:
    """Of one rank.  `peak_by_phase`: the most that was held during forward, backward and optimizer."""

    mesh: Mapping[str, int]
    tokens: int
    weights_bytes: int
    optimizer_bytes: int
    gradients_bytes: int
    peak_by_phase: Mapping[str, int]
    collectives: tuple[Collective, ...]
    seconds: float

    @property
    def peak_bytes(self) -> int:
        return max(self.peak_by_phase.values())

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "peak_bytes": self.peak_bytes}


def dry_run(
    model: ModelConfig, mesh: MeshConfig, world_size: int, *, seq_len: int, rows: int, optim: OptimConfig,
    is_bf16: bool = True, recomputed: float = 0.0, keeps: Keeps = "input", rank: int = 0,
) -> DryRun:  # fmt: skip
    """Trace one step with `rows` sequences of `seq_len` tokens in each data rank's microbatch.

    recomputed: the share of layers that are computed again in the backward pass; keeps: what these keep.

    Refuses what the real run would refuse.  One at a time in a process, and not beside a real process group.
    """
    sizes = mesh.sizes(world_size)
    if sizes["cp"] > 1:
        raise ConfigError("a dry run does not trace stretches of rows: set cp to 1")
    if sizes["pp"] > 1:
        raise ConfigError("a dry run does not trace pipelines, whose stages wait for each other: set pp to 1")
    if optim.matrices == "muon" and sizes["fsdp"] * sizes["tp"] > 1:
        raise ConfigError("Muon on divided weights gathers every matrix whole on every rank, and is not traced. Set "
                          'optim.matrices = "adamw"')  # fmt: skip
    check_model(model, sizes, seq_len)
    if dist.is_initialized():
        raise ConfigError("a dry run pretends to be many processes, and this process already speaks with real ones")
    started_at = time.perf_counter()
    with _fake_world(world_size, rank):
        devices = mesh_of(sizes)  # before the fake tensors: a mesh holds real ones
        found = trace_step(
            model, Mesh(sizes, rank, devices), seq_len, rows, optim, is_bf16=is_bf16, recomputed=recomputed, keeps=keeps
        )
    return DryRun(mesh=sizes, tokens=rows * seq_len, seconds=time.perf_counter() - started_at, **found)


def trace_step(
    shape: ModelConfig, mesh: Mesh, seq_len: int, rows: int, optim: OptimConfig, *, is_bf16: bool,
    recomputed: float = 0.0, keeps: Keeps = "input", is_fake: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """What one rank of `mesh` does in a step; `is_fake=False` really does it, with the processes of a real group."""
    peaks = {}
    blank = Transformer.blank(shape.model_copy(update={"max_seq_len": seq_len}))
    team = apply_plan(blank, mesh, torch.bfloat16 if is_bf16 else None)
    team.module.kernels = "torch"  # compiled kernels read memory, and fake tensors have none
    recompute(team.module, recomputed, keeps)
    tensors = FakeTensorMode(allow_non_fake_inputs=True) if is_fake else nullcontext()
    with tensors, Trace() as trace:
        team.module.to_empty(device="cpu")
        optimizer = build_optimizer(team.module, optim)
        parameters = optimizer.parameters
        for parameter in parameters:  # a step on no gradient makes the optimizer's state, as any first step does
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad()
        trace.start()
        ids_BT = torch.zeros((rows, seq_len), dtype=torch.long)
        with torch.autocast("cpu", torch.bfloat16) if is_bf16 else nullcontext():
            loss_sum = lm_loss(team.trained, LMBatch(ids_BT, ids_BT)).loss_sum
        peaks["forward"] = trace.lap()
        (loss_sum * team.loss_scale).backward()  # type: ignore[no-untyped-call]
        peaks["backward"] = trace.lap()
        gradients = _bytes(p.grad for p in parameters if p.grad is not None)
        optimizer.step()
        peaks["optimizer"] = trace.lap()
        states, _ = optimizer.state()
        return {
            "weights_bytes": _bytes(parameters), "gradients_bytes": gradients,
            "optimizer_bytes": _bytes(states.values()), "peak_by_phase": peaks, "collectives": trace.collectives(),
        }  # fmt: skip


def _bytes(tensors: Iterable[Any]) -> int:
    """Of their storages, each once: pieces may be views of one buffer."""
    return sum({id(s): s.nbytes() for s in (local(t).untyped_storage() for t in tensors)}.values())


class Trace(TorchDispatchMode):
    """Bytes that live storages hold, now and at most, and every collective, among the operations within it."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._sizes: weakref.WeakKeyDictionary[Any, list[int]] = weakref.WeakKeyDictionary()
        self._calls: dict[tuple[str, int], list[int]] = {}

    def start(self) -> None:
        self.peak = self.live
        self._calls.clear()

    def lap(self) -> int:
        """The peak since the last lap."""
        peak, self.peak = self.peak, self.live
        return peak

    def collectives(self) -> tuple[Collective, ...]:
        calls = [Collective(kind, n, n_calls, n_bytes) for (kind, n), (n_calls, n_bytes) in self._calls.items()]
        return tuple(sorted(calls, key=lambda c: -c.n_bytes))

    def __enter__(self) -> "Trace":
        self._resize = torch.UntypedStorage.resize_  # FSDP frees and refills its buffers so, past the dispatcher
        trace, resize = self, self._resize

        def resize_(storage: Any, size: int) -> Any:
            out = resize(storage, size)
            trace._count(storage)
            return out

        torch.UntypedStorage.resize_ = resize_  # type: ignore[assignment, method-assign]
        super().__enter__()
        return self

    def __exit__(self, *about: Any) -> None:
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]
        super().__exit__(*about)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(kind.__name__ == "DTensor" for kind in types):
            return NotImplemented  # its own rule first: what is to be seen are the operations on local pieces
        out = func(*args, **(kwargs or {}))
        if func.namespace in ("c10d", "_c10d_functional"):
            self._note(func, args)
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return out

    def _count(self, storage: Any) -> None:
        size = storage.nbytes()
        known = self._sizes.get(storage)
        if known is None:
            known = self._sizes[storage] = [0]
            weakref.finalize(storage, self._forget, known)
        self.live += size - known[0]
        known[0] = size
        self.peak = max(self.peak, self.live)

    def _forget(self, known: list[int]) -> None:
        self.live -= known[0]
        known[0] = 0

    def _note(self, func: Any, args: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        groups = [leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.ScriptObject)]
        sizes = [group.size() for group in map(_unboxed, groups) if group is not None]
        kind = func.name().split("::")[1].removesuffix("_").replace("_base", "").strip("_")
        if tensors and sizes:
            total = self._calls.setdefault((kind, sizes[0]), [0, 0])
            total[0] += 1
            total[1] += max(t.nbytes for t in tensors)


def _unboxed(boxed: Any) -> Any:
    try:
        return dist.ProcessGroup.unbox(boxed)
    except RuntimeError:  # another kind of object: a reduction's name
        return None


@contextmanager
def _fake_world(world_size: int, rank: int) -> Iterator[None]:
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world_size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def mesh_of(sizes: Mapping[str, int]) -> Any:
    """The device mesh of the axes longer than one, in the process group there is."""
    axes = {"dp": sizes["dp"], "shard": sizes["fsdp"], "tp": sizes["tp"]}
    axes = {axis: size for axis, size in axes.items() if size > 1}
    if not axes:
        return None
    devices = init_device_mesh("cpu", tuple(axes.values()), mesh_dim_names=tuple(axes))
    for axis in axes:
        devices[axis]
    return devices
