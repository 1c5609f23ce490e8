"""What was learned about a checkpoint, kept beside it in `explain/`: tensors and JSON, tied to the weights by hash.

  CHECKPOINT/explain/NAME.safetensors    tensors
  CHECKPOINT/explain/NAME.json           {format_version, weights_sha256, tensors_sha256, ...what was measured}

The JSON is written last and names the hash of both, so that neither can be taken for another's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from glasshouse.checkpoint.weights import read_tensors, weight_files, write_tensors
from glasshouse.core.errors import CheckpointError
from glasshouse.core.files import read_json, sha256_file, sha256_text, write_json

FOLDER = "explain"
FORMAT_VERSION = 1


def weights_hash(folder: Path) -> str:
    """Of the files that hold a checkpoint's weights (1 GB a second)."""
    return sha256_text("".join(sha256_file(folder / name) for name in weight_files(folder)))


def write_beside(folder: Path, name: str, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> Path:
    """Write `name` beside the checkpoint in `folder`, in place of an older one; returns the JSON's path."""
    path = folder / FOLDER / f"{name}.safetensors"
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write_tensors(temporary, tensors)
        temporary.replace(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror}).") from None
    hashes = {"weights_sha256": weights_hash(folder), "tensors_sha256": sha256_file(path)}
    write_json(path.with_suffix(".json"), {"format_version": FORMAT_VERSION, **hashes, **record})
    return path.with_suffix(".json")


def read_beside(folder: Path, name: str, remedy: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, record) of `name`.  `remedy` is the command that makes it, for who has none or another's."""
    path = folder / FOLDER / f"{name}.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {name}. Make it: {remedy}")
    record = _record(path, remedy)
    if record["weights_sha256"] != weights_hash(folder):
        raise CheckpointError(f"{path} belongs to another checkpoint: the weights have changed. Make it anew: {remedy}")
    tensors_path = path.with_suffix(".safetensors")
    if not tensors_path.is_file() or sha256_file(tensors_path) != record["tensors_sha256"]:
        raise CheckpointError(f"{tensors_path} is missing or damaged. Make it anew: {remedy}")
    return read_tensors(tensors_path), record


def _record(path: Path, remedy: str) -> dict[str, Any]:
    try:
        record = read_json(path)
        if record["format_version"] == FORMAT_VERSION and record["tensors_sha256"] and record["weights_sha256"]:
            return dict(record)
    except (ValueError, KeyError, TypeError):
        pass
    raise CheckpointError(f"{path} is damaged or of another version. Make it anew: {remedy}")
