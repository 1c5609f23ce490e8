"""Tensors to safetensors files and back: one file, or shards with an index when they exceed a limit.

The layout is Hugging Face's: `model.safetensors`, or `model-00001-of-0000N.safetensors` with
`model.safetensors.index.json`.  Units: bytes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from glasshouse.checkpoint.manifest import safe_path
from glasshouse.core.errors import CheckpointError
from glasshouse.core.files import read_json, write_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
MAX_SHARD_BYTES = 5_000_000_000  # what Hugging Face tools use
IGNORED_SUFFIX = "rotary_emb.inv_freq"  # old exports store this table; we compute it


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """One safetensors file.  Tensors that share memory are written apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seen: set[int] = set()
    save_file({name: _own_memory(t, seen) for name, t in tensors.items()}, path, metadata={"format": "pt"})


def _own_memory(tensor: Tensor, seen: set[int]) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    storage = tensor.untyped_storage()
    is_shared = storage.nbytes() != tensor.nbytes or storage.data_ptr() in seen
    if not is_shared:
        seen.add(storage.data_ptr())
    return tensor.clone() if is_shared else tensor


def read_tensors(path: Path) -> dict[str, Tensor]:
    return dict(iterate_tensors(path))


def iterate_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) one at a time, so that only one is in memory twice."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            for name in file.keys():  # noqa: SIM118 (a safetensors handle is no mapping)
                yield name, file.get_tensor(name)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: damaged or not a safetensors file ({error}). Copy or download it again."
        ) from None


def write_weights(folder: Path, weights: Mapping[str, Tensor], max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
    """Write `weights` as one file or as shards of at most `max_shard_bytes` (a larger tensor gets a shard alone)."""
    shards = _plan_shards(weights, max_shard_bytes)
    if len(shards) == 1:
        write_tensors(folder / WEIGHTS, weights)
        return
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file_name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_tensors(folder / file_name, {name: weights[name] for name in names})
        weight_map.update(dict.fromkeys(names, file_name))
    n_bytes = sum(t.nbytes for t in weights.values())
    write_json(folder / INDEX, {"metadata": {"total_size": n_bytes}, "weight_map": weight_map})


def _plan_shards(weights: Mapping[str, Tensor], max_shard_bytes: int) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    n_bytes = 0
    for name, tensor in weights.items():
        if shards[-1] and n_bytes + tensor.nbytes > max_shard_bytes:
            shards.append([])
            n_bytes = 0
        shards[-1].append(name)
        n_bytes += tensor.nbytes
    return shards


def weight_files(folder: Path) -> list[str]:
    """The names of the files that hold the weights, in order; refuses an index that leads out of the folder."""
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    index = folder / INDEX
    if not index.is_file():
        pickled = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth") for p in folder.glob(pattern))
        hint = f" It has {pickled[0]}, a pickle, which is never loaded: convert it." if pickled else ""
        raise CheckpointError(f"{folder}: no {WEIGHTS} and no {INDEX}.{hint}")
    names = shard_names(folder)
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise CheckpointError(f"{folder}: missing {', '.join(missing)}, named in {INDEX}.")
    return names


def shard_names(folder: Path) -> list[str]:
    """The files that the index names, whether they are there or not."""
    index = folder / INDEX
    try:
        names = sorted({str(name) for name in read_json(index)["weight_map"].values()})
    except (ValueError, KeyError, AttributeError, TypeError):
        raise CheckpointError(f"{index}: damaged: no readable weight_map. Copy or download it again.") from None
    for name in names:
        safe_path(folder, name, index)
    return names


def fill_weights(model: nn.Module, folder: Path) -> None:
    """Copy stored weights into `model` (its dtype, its device); every name and shape must fit."""
    wanted = dict(model.named_parameters())
    filled: set[str] = set()
    spare_head: Tensor | None = None
    for file_name in weight_files(folder):
        for name, tensor in iterate_tensors(folder / file_name):
            if name == HEAD and name not in wanted:
                spare_head = tensor  # some exports repeat the tied embedding as a head
            elif not name.endswith(IGNORED_SUFFIX):
                _fill(wanted, name, tensor, folder / file_name)
                filled.add(name)
    if missing := sorted(wanted.keys() - filled):
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise CheckpointError(f"{folder}: the weights lack {shown}, which config.json calls for.")
    if spare_head is not None:
        _check_tied(wanted[EMBEDDING], spare_head, folder)


@torch.no_grad()
def _fill(wanted: Mapping[str, nn.Parameter], name: str, tensor: Tensor, path: Path) -> None:
    if name not in wanted:
        raise CheckpointError(
            f"{path}: holds {name}, which config.json does not call for: they do not belong together."
        )
    if tensor.shape != wanted[name].shape:
        raise CheckpointError(
            f"{path}: {name} is {tuple(tensor.shape)}, but config.json calls for {tuple(wanted[name].shape)}: "
            "they do not belong together."
        )
    if not tensor.is_floating_point():
        raise CheckpointError(f"{path}: {name} is stored as {tensor.dtype}; quantized weights are not supported.")
    wanted[name].copy_(tensor)


def _check_tied(embedding: Tensor, head: Tensor, folder: Path) -> None:
    if head.shape != embedding.shape or not torch.equal(head.to(embedding), embedding):
        raise CheckpointError(
            f"{folder}: config.json says tie_word_embeddings, but the stored {HEAD} differs from {EMBEDDING}."
        )
