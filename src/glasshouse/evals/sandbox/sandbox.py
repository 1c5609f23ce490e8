"""Runs a program that a model has written: in a process of its own, walled in, within limits, leaving nothing behind.

Two sets of walls (see `launcher`), tried in this order when first needed; `describe_protection` says which hold here:
  namespaces  no network, no process but its own to see, a read-only file system of the interpreter alone, one folder in
              memory; and the system-call filter
  filters     where namespaces are refused (many containers): the system-call filter denies sockets, signals, looking
              into processes, and every change to a file; what the user may read, the program may read
Where neither can be set up nothing is run: `SandboxError` says why.  Never is a wall left out without saying so.
Programs have Python's standard library and no other packages, no environment, and no input but what they are given.
Left out: other systems than Linux; defence against faults of the kernel itself (for that, a virtual machine).
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast

from pydantic import Field

from glasshouse.core.config import Config
from glasshouse.core.errors import GlasshouseError
from glasshouse.evals.sandbox.filters import program_filter

Mode = Literal["namespaces", "filters"]
Stopped = Literal["time", "cpu", "output"]
LAUNCHER = Path(__file__).with_name("launcher.py")
GRACE_S = 30.0  # the launcher keeps the time; this is for when the launcher itself hangs
SIGXCPU = 24


class SandboxError(GlasshouseError):
    """Model-written code cannot be run safely here."""

    exit_code = 7


class Limits(Config):
    """How much one program may use; each process of it, where nothing else is said."""

    wall_s: float = Field(default=5.0, gt=0)  # of the whole program
    cpu_s: int = Field(default=5, ge=1)
    memory_bytes: int = Field(default=512 << 20, ge=64 << 20)  # of address space: the interpreter takes some 30 MB
    folder_bytes: int = Field(default=16 << 20, ge=1 << 16)  # all its files
    file_bytes: int = Field(default=4 << 20, ge=1 << 16)  # one file
    output_bytes: int = Field(default=64 << 10, ge=1)  # standard output, and as much again of errors
    n_processes: int = Field(default=8, ge=1)  # and threads, all together
    n_open_files: int = Field(default=64, ge=8)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended.  `exit_code` is negative for a signal, None when it was stopped before it ended."""

    exit_code: int | None
    stdout: str
    stderr: str
    stopped: Stopped | None
    seconds: float

    @property
    def is_ok(self) -> bool:
        return self.exit_code == 0 and self.stopped is None


@dataclass(frozen=True, slots=True)
class Protection:
    """The walls that hold on this machine; `why_not_namespaces` is empty where they do."""

    mode: Mode
    has_filter: bool
    why_not_namespaces: str = ""

    def describe(self) -> list[str]:
        lines = list(_NAMESPACES if self.mode == "namespaces" else _FILTERS)
        if not self.has_filter:
            lines.append("NOT in force: the system-call filter, whose numbers are not known for this processor")
        if self.why_not_namespaces:
            lines.append(f"NOT in force: namespaces ({self.why_not_namespaces})")
        return lines


_LIMITS = "limits on processor time, time, memory, processes, open files, file size and output"
_NAMESPACES = (
    "no network: an empty network namespace",
    "no files but the interpreter's (read-only) and one folder in memory that is gone afterwards; no /proc",
    "no other process is visible; all that it starts ends with it",
    "no privilege of any kind, and a filter of system calls",
    _LIMITS,
)
_FILTERS = (
    "no network: a filter denies sockets",
    "no file can be made, changed or removed",
    "no signals to other processes, no looking into them; all that it starts is ended with it",
    _LIMITS,
    "NOT in force: files that this user may read, the program may read (but it has no way to send them anywhere)",
)


def describe_protection() -> list[str]:
    """In words, what holds a model-written program on this machine, and what does not.  Raises where nothing does."""
    return protection().describe()


@cache
def protection() -> Protection:
    """Found out by running an empty program, once."""
    if sys.platform != "linux":
        raise SandboxError(
            f"model-written code is run on Linux only, where it can be walled in; this is {sys.platform}"
        )
    has_filter = program_filter(is_alone=True) is not None
    refusals: dict[Mode, str] = {}
    modes: tuple[Mode, ...] = ("namespaces", "filters") if has_filter else ("namespaces",)
    for mode in modes:
        try:
            _launch("", "", Limits(wall_s=20.0), mode)
        except SandboxError as error:
            refusals[mode] = str(error)
        else:
            return Protection(mode, has_filter, refusals.get("namespaces", ""))
    raise SandboxError(
        "model-written code cannot be walled in here, so none is run. "
        + " ".join(f"With {mode}: {reason}." for mode, reason in refusals.items())
        + " Run on a machine that allows user namespaces, or choose a reward that runs no code."
    )


def run_program(source: str, stdin: str = "", limits: Limits = Limits()) -> Outcome:  # noqa: B008 (frozen)
    """Run Python source to its end, or to one of its limits."""
    return _launch(source, stdin, limits, protection().mode)


def run_many(
    programs: Sequence[tuple[str, str]], limits: Limits = Limits(), n_at_once: int | None = None,  # noqa: B008
) -> list[Outcome]:  # fmt: skip
    """`run_program` of every (source, stdin), in order, `n_at_once` (default: the usable cores) at a time."""
    mode = protection().mode
    with ThreadPoolExecutor(n_at_once or len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda program: _launch(program[0], program[1], limits, mode), programs))


def _launch(source: str, stdin: str, limits: Limits, mode: Mode, python: str | None = None) -> Outcome:
    words = program_filter(is_alone=mode == "namespaces") or b""
    program, given = source.encode("utf-8", "surrogatepass"), stdin.encode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory(prefix="glasshouse-program-") as folder:
        Path(folder).chmod(0o755)  # the program's user may be another one
        order = [
            mode, python or str(Path(sys.executable).resolve()), folder, words.hex(), ":".join(_prefixes()),
            *(f"{name}={value}" for name, value in limits.model_dump().items()),
        ]  # fmt: skip
        return _outcome(_ask_launcher(order, b"%16d%b%b" % (len(program), program, given), limits))


def _prefixes() -> list[str]:
    """Where the interpreter and its library are, under both names where one is a link; outer folders first."""
    given = (sys.base_prefix, sys.base_exec_prefix)
    return sorted({*given, *(str(Path(prefix).resolve()) for prefix in given)})


def _ask_launcher(order: Sequence[str], given: bytes, limits: Limits) -> bytes:
    command = [sys.executable, "-I", "-S", "-B", str(LAUNCHER), *order]
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, env={}, timeout=limits.wall_s + GRACE_S,
            start_new_session=True,  # a Ctrl-C reaches us, not it
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SandboxError(f"the launcher did not answer within {limits.wall_s + GRACE_S:g} s") from None
    if not done.stdout:
        raise SandboxError(f"the launcher failed: {done.stderr.decode(errors='replace')[-300:].strip()}")
    return done.stdout


def _outcome(answer: bytes) -> Outcome:
    head, _, written = answer.partition(b"\n")
    kind, _, rest = head.decode().partition(" ")
    if kind == "refused":
        raise SandboxError(rest)
    code, stopped, seconds, n_bytes = rest.split()
    exit_code = None if code == "-" else int(code)
    why = "cpu" if exit_code == -SIGXCPU else None if stopped == "-" else cast(Stopped, stopped)
    stdout, stderr = written[: int(n_bytes)], written[int(n_bytes) :]
    return Outcome(exit_code, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"), why, float(seconds))
