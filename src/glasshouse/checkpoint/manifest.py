"""What a checkpoint consists of, with hashes; written last, so that without it there is no checkpoint.

`glasshouse/manifest.json` lists every file with its size and SHA-256, the tokenizer's hash, the parent checkpoint's id
and the version of the code that wrote it.  A checkpoint's id is the hash of its manifest, so it names the weights, the
tokenizer and, through `parent`, the whole line of descent.  Imports no torch.
Files added later (a model card, say) are no fault: only listed files are checked, and only listed files are loaded.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from glasshouse.core.errors import CheckpointError
from glasshouse.core.files import read_json, sha256_file, sha256_text

OWN_FOLDER = "glasshouse"
MANIFEST = f"{OWN_FOLDER}/manifest.json"
FORMAT_VERSION = 1
STEP_FOLDER = re.compile(r"step-(\d{8,})")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@dataclass(frozen=True, slots=True)
class FileRecord:
    n_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    files: Mapping[str, FileRecord]  # by path relative to the checkpoint, always with /
    tokenizer_hash: str
    code_version: str
    parent: str | None = None
    id: str = ""  # SHA-256 of the manifest's own text; empty before it is written

    def to_json(self) -> dict[str, Any]:
        files = {name: {"bytes": f.n_bytes, "sha256": f.sha256} for name, f in sorted(self.files.items())}
        return {
            "format_version": FORMAT_VERSION,
            "code_version": self.code_version,
            "parent": self.parent,
            "tokenizer_hash": self.tokenizer_hash,
            "files": files,
        }


def step_folder(step: int) -> str:
    """`step_folder(120)` -> `step-00000120`."""
    return f"step-{step:08d}"


def record_files(folder: Path) -> dict[str, FileRecord]:
    """Size and hash of every file below `folder` but the manifest."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    names = {p.relative_to(folder).as_posix(): p for p in paths}
    return {name: FileRecord(p.stat().st_size, sha256_file(p)) for name, p in names.items() if name != MANIFEST}


def safe_path(folder: Path, name: str, source: Path) -> Path:
    """`folder / name`, refused when `name` leads out of the folder.  `source` is the file that said so."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise CheckpointError(
            f"{source}: names the file {name!r}, which is not inside the checkpoint. "
            "Nothing outside a checkpoint's folder is read; get the checkpoint from its source again."
        )
    return folder / path


def is_own(folder: Path) -> bool:
    """Whether Glasshouse saved this checkpoint.  Quantized weights laid beside another's do not make it ours."""
    return any((folder / OWN_FOLDER / name).is_file() for name in ("manifest.json", "recipe.json"))


def read_manifest(folder: Path) -> Manifest:
    """The manifest alone, nothing checked against it."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such checkpoint directory.")
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: no {MANIFEST}: saving it was interrupted, or it is not a Glasshouse checkpoint. "
            "Use an earlier checkpoint of the run; training resumes from one by itself."
        )
    try:
        record = read_json(path)
        version = record["format_version"]
        if version != FORMAT_VERSION:
            raise CheckpointError(
                f"{path}: written in format {version}; this Glasshouse reads format {FORMAT_VERSION}. "
                f"It was written by Glasshouse {record.get('code_version')}: use that version or a newer one."
            )
        files = {str(n): FileRecord(int(f["bytes"]), str(f["sha256"])) for n, f in record["files"].items()}
        own_id = sha256_text(path.read_text(encoding="utf-8"))
        return Manifest(files, record["tokenizer_hash"], record["code_version"], record["parent"], own_id)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: damaged ({type(error).__name__}: {error}). Use an earlier checkpoint."
        ) from None


def verify(folder: Path, *, checks_hashes: bool = True, only: Iterable[str] | None = None) -> Manifest:
    """The manifest of a whole checkpoint; `CheckpointError` naming every file that is missing, cut or altered.

    checks_hashes=False looks at presence and size only (a 16 GB model hashes in about ten seconds).
    only: check these files and no others.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    chosen = manifest.files if only is None else {n: f for n, f in manifest.files.items() if n in set(only)}
    problems = [p for n, f in chosen.items() if (p := _problem(folder, n, f, checks_hashes))]
    if problems:
        raise CheckpointError(
            f"{folder}: damaged checkpoint:\n  "
            + "\n  ".join(problems)
            + "\nUse an earlier checkpoint, or copy it again."
        )
    return manifest


def latest_checkpoint(folder: Path, on_skip: Callable[[str], None] | None = None) -> Path | None:
    """The newest whole `step-XXXXXXXX` below `folder`, or None.  `on_skip` is told of each newer one that is torn."""
    found = [(int(m.group(1)), p) for p in _subfolders(Path(folder)) if (m := STEP_FOLDER.fullmatch(p.name))]
    for _, path in sorted(found, reverse=True):
        try:
            verify(path)
            return path
        except CheckpointError as error:
            if on_skip is not None:
                on_skip(f"skipped: {error}")
    return None


def _subfolders(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []


def _problem(folder: Path, name: str, expected: FileRecord, checks_hashes: bool) -> str:
    path = safe_path(folder, name, folder / MANIFEST)
    if not path.is_file():
        return f"{name}: missing"
    n_bytes = path.stat().st_size
    if n_bytes == expected.n_bytes and (not checks_hashes or sha256_file(path) == expected.sha256):
        return ""
    if name in TOKENIZER_FILES:
        return f"{name}: not the file these weights were saved with; this tokenizer does not belong to them"
    if n_bytes != expected.n_bytes:
        return f"{name}: {n_bytes:,} bytes, should be {expected.n_bytes:,}"
    return f"{name}: its contents have changed since it was saved (SHA-256 differs)"
