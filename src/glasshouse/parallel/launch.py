"""Joining the other processes, and speaking with them outside of training.

Training speaks by collectives, which time out: whoever is silent too long is hung.  Everything else (the first process
reading a corpus for an hour) goes through the store, which waits as long as it takes.
"""

import itertools
import json
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from glasshouse.core.environment import default_device, local_rank, restart_count, world
from glasshouse.parallel.mesh import AXES, Mesh, MeshConfig

AS_LONG_AS_IT_TAKES = timedelta(days=30)


def init_distributed(config: MeshConfig) -> Mesh:
    """The mesh of the processes that torchrun started; one process alone joins nothing."""
    rank, world_size = world()
    sizes = config.sizes(world_size)
    if world_size == 1:
        return Mesh()
    device = default_device()
    if device.type == "cuda":
        torch.cuda.set_device(local_rank())
    timeout = timedelta(seconds=config.timeout_s)
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        store, _, _ = next(dist.rendezvous("env://", timeout=timeout))
        store = dist.PrefixStore(f"attempt-{restart_count()}", store)  # what a former attempt said is not heard
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
        _store().set(f"who/{rank}", f"{socket.gethostname()}, process {os.getpid()}")
    long = {"pp": sizes["pp"], "dp": sizes["dp"], "shard": sizes["fsdp"] * sizes["cp"], "tp": sizes["tp"]}
    long = {axis: size for axis, size in long.items() if size > 1}
    devices = init_device_mesh(device.type, tuple(long.values()), mesh_dim_names=tuple(long))
    for axis in long:
        _set_timeout(devices.get_group(axis), timeout)
    lines = {"cp": _group_along("cp", sizes, rank, timeout)} if sizes["cp"] > 1 else {}
    if sizes["pp"] > 1:
        lines["back"] = _group_along("pp", sizes, rank, timeout)
        lines["ends"] = _group_along("pp", sizes, rank, timeout, step=sizes["pp"] - 1)
    save_group = dist.new_group(backend="gloo", timeout=AS_LONG_AS_IT_TAKES)
    return Mesh(sizes, rank, devices, lines, save_group, config.timeout_s)


def leave() -> None:
    """End the conversation in good order."""
    if dist.is_initialized():
        dist.destroy_process_group()


_told = itertools.count()


def tell(mesh: Mesh, value: Any) -> Any:
    """The main rank's `value` (of JSON) to every rank, however long it takes to come."""
    if mesh.world_size == 1:
        return value
    key = f"told/{next(_told)}"
    if mesh.is_main:
        _store().set(key, json.dumps(value))
    else:
        _store().wait([key], AS_LONG_AS_IT_TAKES)
    return json.loads(_store().get(key))


@contextmanager
def main_first(mesh: Mesh) -> Iterator[None]:
    """The main rank does what is within first and alone, the others after it: they find its files."""
    if not mesh.is_main:
        tell(mesh, None)
    yield
    if mesh.is_main:
        tell(mesh, None)


def absent_ranks(mesh: Mesh, patience_s: float) -> dict[int, str]:
    """Who does not answer within `patience_s` when all others ask after each other: {rank: host and process}."""
    store = _store()
    store.set(f"here/{mesh.rank}", "yes")
    keys = {rank: f"here/{rank}" for rank in range(mesh.world_size)}
    ends_at = time.monotonic() + patience_s
    try:
        while time.monotonic() < ends_at and not store.check(list(keys.values())):
            time.sleep(0.1)
        missing = [rank for rank, key in keys.items() if not store.check([key])]
        return {rank: store.get(f"who/{rank}").decode() for rank in missing}
    except RuntimeError:  # the store went with whoever kept it
        return {0: "the keeper of the store"}


def _group_along(axis: str, sizes: Mapping[str, int], rank: int, timeout: timedelta, step: int = 1) -> Any:
    """Every `step`-th process of the line along `axis` that `rank` stands in.

    Every process makes every group, in the same order; it keeps its own.
    """
    inner = math.prod(sizes[name] for name in AXES[AXES.index(axis) + 1 :])
    span, own = sizes[axis] * inner, None
    for start in range(0, math.prod(sizes.values()), span):
        for offset in range(inner):
            line = range(start + offset, start + span, inner)
            group = dist.new_group(list(line[::step]), timeout=timeout)
            own = group if rank in line else own
    return own


def _set_timeout(group: Any, timeout: timedelta) -> None:
    """A group made by a device mesh waits half an hour by default, whatever the whole world's timeout is."""
    dist.distributed_c10d._set_pg_timeout(timeout, group)


def _store() -> Any:
    return dist.distributed_c10d._get_default_store()
