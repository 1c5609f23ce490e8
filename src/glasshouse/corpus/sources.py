"""From what the user named (a folder, file or glob) to the files to read, in one fixed order.

Order is by name, folder by folder, so that the same input gives the same corpus on every machine.  A file's `name` is
its path from the named source on: it becomes the document's id, so a corpus keeps its ids when it is moved.
Left out of folders: hidden entries, `__pycache__` and `node_modules`; each is recorded.
"""

import gzip
import io
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from glasshouse.core.errors import DataError, suggest
from glasshouse.corpus.problem import OnProblem, Problem
from glasshouse.corpus.zstd import open_zstd, zstd_errors

COMPRESSIONS = (".gz", ".zst")
SKIPPED_FOLDERS = ("__pycache__", "node_modules")
STDLIB = "stdlib:"

OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A regular file to read.  `suffix` is the format's (`.txt` of `a.txt.gz`), `compression` .gz, .zst or empty."""

    path: Path
    name: str
    suffix: str
    compression: str
    n_bytes: int

    @property
    def source(self) -> str:
        return self.path.as_posix()

    @contextmanager
    def open(self, on_bytes: OnBytes | None = None) -> Iterator[io.BufferedIOBase]:
        """The decompressed bytes as a stream.  Damaged archives raise `DataError` at the read that meets the damage."""
        with io.BufferedReader(_CountedFile(self.path, on_bytes), 1 << 20) as raw:
            try:
                yield self._decompressed(raw)
            except self._errors() as error:
                raise DataError(f"damaged {self.compression} file: {error}") from None

    def _decompressed(self, raw: "io.BufferedReader[_CountedFile]") -> io.BufferedIOBase:
        if self.compression == ".gz":
            return gzip.GzipFile(fileobj=raw, mode="rb")
        return open_zstd(raw) if self.compression == ".zst" else raw

    def _errors(self) -> tuple[type[Exception], ...]:
        return zstd_errors() if self.compression == ".zst" else (EOFError, gzip.BadGzipFile, zlib.error)


class _CountedFile(io.FileIO):
    """A file that tells how many bytes were read, for progress: the only measure a compressed stream gives."""

    def __init__(self, path: Path, on_bytes: OnBytes | None) -> None:
        super().__init__(path, "r")
        self._on_bytes = on_bytes

    def readinto(self, buffer: object, /) -> int | None:  # type: ignore[override]
        n_bytes = super().readinto(buffer)  # type: ignore[arg-type]
        if self._on_bytes is not None and n_bytes:
            self._on_bytes(n_bytes)
        return n_bytes


def find_files(source: str, on_problem: OnProblem) -> list[SourceFile]:
    """The files of one source, sorted.  A source that names nothing raises `DataError`: it is a typo, not bad data."""
    path = Path(source).expanduser()
    if path.is_dir():
        found = list(_walk(path, path.resolve().name, on_problem, (path.resolve(),)))
        return found or _refuse_empty(path)
    if path.exists() or path.is_symlink():
        return [file for file in [_as_file(path, path.name, on_problem)] if file is not None]
    if has_magic(str(path)):
        return _find_by_pattern(str(path), on_problem)
    raise DataError(f"{source}: no such file or folder.{_nearest(path)} {ALLOWED}")


ALLOWED = 'A source is a folder, a file, a pattern such as "texts/**/*.md", or "stdlib:".'


def unique_files(groups: Sequence[list[SourceFile]], on_problem: OnProblem) -> list[list[SourceFile]]:
    """Drop files already named by an earlier source, and number folders that share a name (`texts`, `texts~2`)."""
    seen_paths: set[Path] = set()
    seen_names: set[str] = set()
    result = []
    for group in groups:
        kept = []
        for file in group:
            real = file.path.resolve()
            if real in seen_paths:
                on_problem(Problem(file.source, "the same file was already read"))
                continue
            seen_paths.add(real)
            kept.append(_with_free_name(file, seen_names))
        result.append(kept)
    return result


def _with_free_name(file: SourceFile, taken: set[str]) -> SourceFile:
    name, number = file.name, 2
    head, slash, rest = file.name.partition("/")
    while name in taken:
        name, number = f"{head}~{number}{slash}{rest}", number + 1
    taken.add(name)
    return SourceFile(file.path, name, file.suffix, file.compression, file.n_bytes)


def _walk(folder: Path, name: str, on_problem: OnProblem, parents: tuple[Path, ...]) -> Iterator[SourceFile]:
    try:
        entries = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        on_problem(Problem(folder.as_posix(), f"folder cannot be read: {error.strerror}"))
        return
    for entry in entries:
        path, entry_name = folder / entry, f"{name}/{entry}"
        if entry.startswith(".") or entry in SKIPPED_FOLDERS:
            on_problem(Problem(path.as_posix(), "hidden or generated, not read"))
        elif path.is_dir():
            real = path.resolve()
            if real in parents:
                on_problem(Problem(path.as_posix(), "symbolic link to a folder it lies in, not followed"))
            else:
                yield from _walk(path, entry_name, on_problem, (*parents, real))
        elif (file := _as_file(path, entry_name, on_problem)) is not None:
            yield file


def _as_file(path: Path, name: str, on_problem: OnProblem) -> SourceFile | None:
    try:
        status = path.stat()
    except (OSError, RuntimeError) as error:  # a link to nowhere, a loop of links
        on_problem(Problem(path.as_posix(), f"cannot be read: {getattr(error, 'strerror', None) or error}"))
        return None
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        on_problem(Problem(path.as_posix(), "not a regular file"))
        return None
    compression = path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else ""
    suffix = Path(path.stem).suffix if compression else path.suffix
    return SourceFile(path, name, suffix.lower(), compression, status.st_size)


def _find_by_pattern(pattern: str, on_problem: OnProblem) -> list[SourceFile]:
    matches = sorted(glob(pattern, recursive=True))  # noqa: PTH207 (a pattern may be absolute)
    base = _fixed_part(pattern)
    if not matches:
        state = "exists" if base.is_dir() else "does not exist"
        raise DataError(
            f'no file matches the pattern "{pattern}" (looked from {base.as_posix()}, which {state}). {ALLOWED}'
        )
    named = [(Path(m), f"{base.resolve().name}/{Path(m).relative_to(base).as_posix()}") for m in matches]
    files = [_as_file(path, name, on_problem) for path, name in named if not path.is_dir()]
    found = [file for file in files if file is not None]
    return found or _refuse_empty(Path(pattern))


def _fixed_part(pattern: str) -> Path:
    """The folder before the first wildcard: `texts/**/*.md` -> `texts`."""
    parts = []
    for part in Path(pattern).parts:
        if has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _refuse_empty(path: Path) -> list[SourceFile]:
    raise DataError(f"{path.as_posix()}: no readable file in it. {ALLOWED}")


def _nearest(path: Path) -> str:
    try:
        return suggest(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return f" The folder {path.parent.as_posix()} does not exist."
