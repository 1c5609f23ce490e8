"""Many processes write one checkpoint: the same files that one process writes, so any number may read it again.

torch.distributed.checkpoint plans who writes which piece; its own storage keeps a pickle and one file a process.  Here
the storage is safetensors: the header tells where each tensor begins, so every process writes its pieces in place.
Keys: `weights/NAME` is a tensor of the model's files, every other key one of `training_state.safetensors`.
Units: bytes.
"""

import json
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from glasshouse.checkpoint.replace import replaced_folder
from glasshouse.checkpoint.save import FULL_DISK
from glasshouse.checkpoint.state import STATE_TENSORS
from glasshouse.checkpoint.weights import INDEX, MAX_SHARD_BYTES, WEIGHTS, weight_files
from glasshouse.core.errors import CheckpointError
from glasshouse.core.files import write_json

WEIGHTS_PREFIX = "weights/"
DTYPES: dict[torch.dtype, str] = {
    torch.float32: "F32", torch.float64: "F64", torch.bfloat16: "BF16", torch.float16: "F16", torch.uint8: "U8",
    torch.int8: "I8", torch.int16: "I16", torch.int32: "I32", torch.int64: "I64", torch.bool: "BOOL",
}  # fmt: skip
TYPES = {name: dtype for dtype, name in DTYPES.items()}


def save_divided(folder: Path, tensors: Mapping[str, Any], write_rest: Callable[[Path], None], group: Any) -> None:
    """Write `tensors`, of which each process holds pieces, into `folder`: whole or not at all.

    `write_rest(new)`, called by the first process alone, adds the other files, the manifest last.  A failure of any
    process is a `CheckpointError` on all.  Collective over `group`.
    """
    is_main = dist.get_rank(group) == 0
    failure: str | None = None
    try:
        with ExitStack() as stack:
            new = _first_says(lambda: str(stack.enter_context(replaced_folder(folder))), group)
            dcp.save(dict(tensors), storage_writer=_Writer(Path(new)), planner=_save_planner(), process_group=group)
            if is_main:
                write_rest(Path(new))
    except (Exception, CheckpointException) as error:  # whatever it was, the others must hear of it
        failure = _root_of(error)
    failures: list[str | None] = [None] * dist.get_world_size(group)
    dist.all_gather_object(failures, failure, group=group)
    if found := [f"{text} (rank {rank})" for rank, text in enumerate(failures) if text]:
        raise CheckpointError(f"{folder}: not saved: {found[0]}. Earlier checkpoints are untouched.")


def load_divided(folder: Path, tensors: Mapping[str, Any]) -> None:
    """Fill `tensors`, whole or pieces, in place from a checkpoint that any number of processes wrote."""
    planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # that each process reads on its own
        dcp.load(dict(tensors), storage_reader=_Reader(folder), planner=planner, no_dist=True)


def stored_shapes(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of everything stored, by key."""
    return {key: (shape, dtype) for key, (_, _, shape, dtype) in _contents(folder).items()}


def _save_planner() -> DefaultSavePlanner:
    return DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)


def _first_says(work: Callable[[], str], group: Any) -> str:
    """What the first process found, or its failure, on every process."""
    said: list[Any] = [None]
    if dist.get_rank(group) == 0:
        try:
            said = [(True, work())]
        except OSError as error:
            said = [(False, _root_of(error))]
    dist.broadcast_object_list(said, group_src=0, group=group)
    is_good, text = said[0]
    if not is_good:
        raise CheckpointError(text)
    return str(text)


def _root_of(error: BaseException) -> str:
    """The system's own word, from inside what torch wraps around it."""
    failures = getattr(error, "failures", None)
    if failures:
        error = next(iter(failures.values()))[0]
    is_full = getattr(error, "errno", None) in FULL_DISK
    return f"the disk is full or a size limit was reached ({error})" if is_full else f"{type(error).__name__}: {error}"


class _Writer(StorageWriter):
    """Pieces into safetensors files under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def reset(self, checkpoint_id: Any = None) -> None:
        pass

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        pass

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """On the first process: where every tensor will lie; the files are made, at full size, with their headers."""
        found = {item.index.fqn: item.tensor_data for plan in plans for item in plan.items if item.tensor_data}
        layout = _write_headers(self.folder, {key: (data.size, data.properties.dtype) for key, data in found.items()})
        return [replace(plan, storage_data=layout) for plan in plans]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        results, files = [], {}
        with ExitStack() as stack:
            for item in plan.items:
                name, begin = plan.storage_data[item.index.fqn]
                if name not in files:
                    files[name] = stack.enter_context((self.folder / name).open("r+b", buffering=0))
                piece: Any = planner.resolve_data(item)
                piece = piece.detach().cpu().contiguous()
                assert item.tensor_data is not None
                chunk = item.tensor_data.chunk
                _write_piece(files[name].fileno(), begin, item.tensor_data.size, chunk.offsets, piece)
                results.append(WriteResult(item.index, piece.nbytes, None))
            for file in files.values():
                os.fsync(file.fileno())
        future: Future[list[WriteResult]] = Future()
        future.set_result(results)
        return future

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        pass

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


class _Reader(StorageReader):
    """Boxes of tensors out of the safetensors files of a checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.contents = folder, _contents(folder)

    def reset(self, checkpoint_id: Any = None) -> None:
        pass

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        return Metadata({
            key: TensorStorageMetadata(
                TensorProperties(dtype), shape, [ChunkStorageMetadata(torch.Size([0] * len(shape)), shape)]
            )
            for key, (_, _, shape, dtype) in self.contents.items()
        })  # fmt: skip

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        pass

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        with ExitStack() as stack:
            files: dict[str, Any] = {}
            for item in plan.items:
                name, tensor_name, shape, _ = self.contents[item.storage_index.fqn]
                if name not in files:
                    files[name] = stack.enter_context(safe_open(self.folder / name, framework="pt"))
                box = tuple(slice(start, start + size) for start, size in zip(item.storage_offsets, item.lengths))
                stored = files[name].get_slice(tensor_name)[box] if shape else files[name].get_tensor(tensor_name)
                target = planner.resolve_tensor(item).detach()
                target.copy_(stored)
                planner.commit_tensor(item, target)
        future: Future[None] = Future()
        future.set_result(None)
        return future

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


def _write_headers(folder: Path, tensors: Mapping[str, tuple[torch.Size, torch.dtype]]) -> dict[str, tuple[str, int]]:
    """Make every file; returns {key: (file, where its bytes begin)}."""
    layout: dict[str, tuple[str, int]] = {}
    for name, keys in _files_of(folder, tensors).items():
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for key in keys:
            size, dtype = tensors[key]
            begin, end = end, end + size.numel() * dtype.itemsize
            own_name = key.removeprefix(WEIGHTS_PREFIX)
            header[own_name] = {"dtype": DTYPES[dtype], "shape": list(size), "data_offsets": [begin, end]}
            layout[key] = (name, begin)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        start = 8 + len(text)
        layout |= {key: (name, start + layout[key][1]) for key in keys}
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.flush()
            if end:
                os.posix_fallocate(file.fileno(), 0, start + end)  # a full disk is known now, not half-way
    return layout


def _files_of(folder: Path, tensors: Mapping[str, tuple[torch.Size, torch.dtype]]) -> dict[str, list[str]]:
    """Which keys go into which file, and the index of the model's files where there are several."""
    shards: list[list[str]] = [[]]
    n_bytes = total = 0
    for key in (key for key in tensors if key.startswith(WEIGHTS_PREFIX)):
        size, dtype = tensors[key]
        own = size.numel() * dtype.itemsize
        if shards[-1] and n_bytes + own > MAX_SHARD_BYTES:
            shards.append([])
            n_bytes = 0
        shards[-1].append(key)
        n_bytes, total = n_bytes + own, total + own
    names = [WEIGHTS] if len(shards) == 1 else [
        f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)
    ]  # fmt: skip
    files = dict(zip(names, shards))
    if len(shards) > 1:
        weight_map = {key.removeprefix(WEIGHTS_PREFIX): name for name, keys in files.items() for key in keys}
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})
    if rest := [key for key in tensors if not key.startswith(WEIGHTS_PREFIX)]:
        files[STATE_TENSORS] = rest
    return files


def _write_piece(descriptor: int, begin: int, size: torch.Size, offsets: torch.Size, piece: Tensor) -> None:
    """A box of a tensor of `size` that lies row after row from byte `begin`."""
    if piece.ndim == 0 or piece.shape[1:] == size[1:]:
        row = size[1:].numel() * piece.element_size()
        begin += (offsets[0] if piece.ndim else 0) * row
        data = memoryview(piece.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
        while data:
            n_written = os.pwrite(descriptor, data, begin)
            data, begin = data[n_written:], begin + n_written
        return
    row = size[1:].numel() * piece.element_size()
    for number, inner in enumerate(piece.unbind()):
        _write_piece(descriptor, begin + (offsets[0] + number) * row, size[1:], offsets[1:], inner)


def _contents(folder: Path) -> dict[str, tuple[str, str, torch.Size, torch.dtype]]:
    """{key: (file, name within it, shape, type)} of everything a checkpoint holds."""
    found = {}
    names = [(name, WEIGHTS_PREFIX) for name in weight_files(folder)]
    names += [(STATE_TENSORS, "")] if (folder / STATE_TENSORS).is_file() else []
    for name, prefix in names:
        with safe_open(folder / name, framework="pt") as file:
            for tensor_name in file.keys():  # noqa: SIM118 (a safetensors handle is no mapping)
                part = file.get_slice(tensor_name)
                found[prefix + tensor_name] = (
                    name, tensor_name, torch.Size(part.get_shape()), TYPES[part.get_dtype()],
                )  # fmt: skip
    return found
