"""A folder that is either whole or absent: written beside its place, made durable, then exchanged in one step."""

import ctypes
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glasshouse.core.files import sync_directory

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty neighbour of `folder` to write into.  On success it takes the place of `folder`; on any error it
    is removed and `folder` stays as it was."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder.parent)
    temporary = folder.with_name(f".{folder.name}.{socket.gethostname()}-{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        sync_tree(temporary)
        _take_place(temporary, folder)
    finally:
        # after an exchange this is the former checkpoint, after an error the unfinished one
        shutil.rmtree(temporary, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Make every file and folder below `folder` durable."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    for path in [*(p for p in folder.rglob("*") if p.is_dir()), folder]:
        sync_directory(path)


def remove_abandoned(parent: Path) -> None:
    """Remove what killed processes of this machine left half-written."""
    for path in parent.glob(f".*.{socket.gethostname()}-*.tmp"):
        pid = path.name.removesuffix(".tmp").rpartition("-")[2]
        if path.is_dir() and pid.isdigit() and int(pid) != os.getpid() and not _is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _take_place(temporary: Path, folder: Path) -> None:
    if not folder.exists():
        temporary.rename(folder)
    elif not _exchange(temporary, folder):
        # No exchange on this system: for an instant neither name is there, but the former one is never lost.
        former = folder.with_name(f".{folder.name}.former")
        shutil.rmtree(former, ignore_errors=True)
        folder.rename(former)
        temporary.rename(folder)
        shutil.rmtree(former, ignore_errors=True)
    sync_directory(folder.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step (Linux).  False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0
