"""Programs that mean harm, in both sets of walls.  Each says what it managed; nothing may be left of any of them."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from glasshouse.evals.sandbox import Limits, Outcome, SandboxError, describe_protection, run_many, run_program, sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are walled in on Linux only")
PATIENT = 30.0  # seconds for what should end by itself
Launch = Callable[..., Outcome]


def python_for_others() -> str | None:
    """An interpreter that another user can start: root's programs run as nobody where there are no namespaces."""
    for python in (sys.executable, "/usr/bin/python3"):
        path = Path(python).resolve()
        if path.exists() and (os.geteuid() != 0 or all(p.stat().st_mode & 0o005 == 0o005 for p in path.parents)):
            return str(path)
    return None


@pytest.fixture(params=["namespaces", "filters"])
def launch(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """Runs a program in one of the modes; skips where this machine refuses it."""
    mode = request.param
    python = python_for_others() if mode == "filters" else None
    if mode == "filters" and python is None:
        pytest.skip("no interpreter here that another user can start")
    monkeypatch.setattr(tempfile, "tempdir", None)

    def run(source: str, stdin: str = "", wall_s: float = PATIENT, **limits: int) -> Outcome:
        try:
            return sandbox._launch(source, stdin, Limits(wall_s=wall_s, **limits), mode, python)
        except SandboxError as error:
            pytest.skip(f"refused here: {error}")

    run.mode = mode  # type: ignore[attr-defined]
    return run


def processes_named(name: str) -> list[str]:
    """Process numbers whose name is `name`; a fork inherits it."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == name:
                found.append(comm.parent.name)
        except OSError:
            continue
    return found


@pytest.fixture
def name() -> str:
    return f"gh-{uuid.uuid4().hex[:10]}"


def naming(name: str) -> str:
    return f"import ctypes; ctypes.CDLL(None).prctl(15, b'{name}')\n"


def test_a_program_runs(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "seen")
    outcome = launch(
        "import os, sys\nprint(input(), 'SECRET' in os.environ, sys.flags.isolated)\nsys.exit(3)", "hello é"
    )
    assert (outcome.stdout, outcome.exit_code, outcome.stopped, outcome.is_ok) == ("hello é False 1\n", 3, None, False)
    assert launch("print(1)").is_ok
    failed = launch("1/0")
    assert failed.exit_code == 1 and "ZeroDivisionError" in failed.stderr
    assert launch("import ctypes; ctypes.string_at(0)").exit_code == -signal.SIGSEGV


REACHING_OUT = """
import ctypes, os, socket
def attempt(what, act):
    try:
        act()
    except (OSError, PermissionError):
        return
    print(what)
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
    attempt(f"socket {family}", lambda: socket.socket(family))
attempt("namespace", lambda: call("unshare", 0x10000000))
attempt("trace", lambda: call("ptrace", 16, os.getppid(), 0, 0))
attempt("mount", lambda: call("mount", b"x", b"/", b"tmpfs", 0, None))
for path in PATHS:
    attempt(f"write {path}", lambda: open(path, "a").write("x"))
    attempt(f"remove {path}", lambda: os.remove(path))
    attempt(f"rename {path}", lambda: os.rename(path, path + "2"))
    attempt(f"mode {path}", lambda: os.chmod(path, 0o777))
"""


def test_nothing_is_reached(launch: Launch, tmp_path: Path) -> None:
    """No network, no new namespaces, no file of ours changed, even one that everyone may write."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o005)
    tmp_path.chmod(0o777)
    ours = tmp_path / "ours"
    ours.write_text("whole")
    ours.chmod(0o666)
    outcome = launch(
        f"PATHS = {[str(ours), '/etc/hostname', str(tmp_path / 'new'), sys.prefix + '/x']!r}\n{REACHING_OUT}"
    )
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "", "")
    assert ours.read_text() == "whole" and [p.name for p in tmp_path.iterdir()] == ["ours"]


def test_nothing_of_ours_is_seen(launch: Launch, tmp_path: Path) -> None:
    if launch.mode != "namespaces":  # type: ignore[attr-defined]
        pytest.skip("what the user may read can be read there, and describe_protection says so")
    (tmp_path / "secret").write_text("secret")
    outcome = launch(
        f"import os\nfor path in ({str(tmp_path / 'secret')!r}, '/proc', '/home', '/etc/passwd', '/tmp'):\n"
        "  if os.path.exists(path): print(path)\nprint(os.getcwd(), os.getpid() < 10, os.getuid() > 0)"
    )
    assert outcome.stdout == "/box True True\n"


def test_signals_reach_no_one(launch: Launch) -> None:
    source = f"""
import os, signal
for pid in (os.getppid(), {os.getpid()}, {os.getppid()}, 1):
    try: os.kill(pid, signal.SIGTERM)
    except (ProcessLookupError, PermissionError): pass
print("done")
"""
    outcome = launch(source)
    assert outcome.stdout == "done\n" and outcome.exit_code == 0


def test_one_folder_to_write_in(launch: Launch) -> None:
    source = "open('a', 'w').write('x' * 1000)\nimport tempfile; tempfile.TemporaryFile().write(b'x')\nprint('written')"
    assert launch(source).is_ok == (launch.mode == "namespaces")  # type: ignore[attr-defined]


HOSTILE = {
    "sleeps": "import time\nwhile True: time.sleep(1000)",
    "forks": "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
    "ignores signals": "import signal, time\nfor s in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU):\n"
                       "  signal.signal(s, signal.SIG_IGN)\nwhile True: time.sleep(1000)",
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_it_is_stopped_and_nothing_is_left(launch: Launch, name: str, what: str) -> None:
    outcome = launch(naming(name) + HOSTILE[what], wall_s=0.5)
    assert outcome.stopped == "time" and outcome.exit_code is None
    assert processes_named(name) == []


def test_a_daemon_is_ended(launch: Launch, name: str) -> None:
    """Forked twice, in a session of its own, with the pipes still open."""
    source = naming(name) + (
        "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    print('daemon', flush=True)\n"
        "    time.sleep(1000)\n  os._exit(0)\nos.wait()\ntime.sleep(0.05)"
    )
    outcome = launch(source)
    assert outcome.exit_code == 0 and outcome.stopped is None and processes_named(name) == []


def test_processes_are_counted(launch: Launch) -> None:
    source = "import os, time\nn = 0\ntry:\n  while n < 100:\n    if os.fork() == 0: time.sleep(1000)\n    n += 1\n"
    outcome = launch(source + "except OSError: pass\nprint(n)", n_processes=5)
    assert outcome.exit_code == 0 and 1 <= int(outcome.stdout) <= 5


def test_memory_is_bounded(launch: Launch) -> None:
    assert "MemoryError" in launch("x = bytearray(1 << 30)", memory_bytes=256 << 20).stderr


def test_output_is_bounded(launch: Launch) -> None:
    outcome = launch("while True: print('x' * 1000)", output_bytes=5000)
    assert outcome.stopped == "output" and len(outcome.stdout) == 5000
    assert launch("import sys\nwhile True: sys.stderr.write('x' * 1000)", output_bytes=5000).stopped == "output"


def test_the_disk_is_not_filled(launch: Launch) -> None:
    many = "for i in range(10**6):\n  with open(str(i), 'w') as f: f.write('x' * 50_000)"
    large = "with open('x', 'wb') as f:\n  while True: f.write(b'x' * 50_000)"
    for source in (many, large):
        outcome = launch(source, folder_bytes=1 << 20, file_bytes=1 << 19)
        assert outcome.exit_code == 1 and "Error" in outcome.stderr


def test_open_files_are_counted(launch: Launch) -> None:
    source = "import os\ntry:\n  while True: os.dup(0)\nexcept OSError as error: print(error.errno)"
    assert launch(source, n_open_files=20).stdout == "24\n"


@pytest.mark.slow
def test_computing_is_bounded(launch: Launch) -> None:
    assert launch("while True: pass", cpu_s=1).stopped == "cpu"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_privilege() -> None:
    """The launcher as a user without any: the namespaces hold for him too."""
    python = python_for_others()
    if python is None:
        pytest.skip("no interpreter here that another user can start")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        limits = [f"{name}={value}" for name, value in Limits(wall_s=PATIENT).model_dump().items()]
        done = subprocess.run(
            [python, "-I", "-S", "-c", sandbox.LAUNCHER.read_text(), "namespaces", python, folder, "", "/usr", *limits],
            input=b"%16dprint(input())hello" % 14, capture_output=True, user=65534, group=65534, extra_groups=[],
        )  # fmt: skip
    if done.stdout.startswith(b"refused"):
        pytest.skip(done.stdout.decode())
    assert done.stdout.startswith(b"ended 0 - ") and done.stdout.endswith(b"6\nhello\n")


@pytest.mark.slow
def test_nothing_is_left_when_we_are_killed(name: str) -> None:
    program = naming(name) + "import time\nprint('up', flush=True)\ntime.sleep(1000)"
    source = f"from glasshouse.evals.sandbox import *; run_program({program!r}, limits=Limits(wall_s=500))"
    ours = subprocess.Popen([sys.executable, "-c", source])
    try:
        wait_until(lambda: processes_named(name) != [])
    finally:
        ours.kill()
        ours.wait()
    wait_until(lambda: processes_named(name) == [])


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("waited for minutes in vain")


def test_many_at_once_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    limits = Limits(wall_s=PATIENT)
    outcomes = run_many([("print(input())", str(i)) for i in range(4)], limits, n_at_once=2)
    assert [outcome.stdout for outcome in outcomes] == ["0\n", "1\n", "2\n", "3\n"]
    assert run_program("print(2)", limits=limits).stdout == "2\n"
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_force_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = describe_protection()
    assert lines[0].startswith("no network") and any("limits on processor time" in line for line in lines)

    def refuse(*order: object) -> Outcome:
        if order[3] == "namespaces":
            raise SandboxError("unshare: Operation not permitted")
        return Outcome(0, "", "", None, 0.0)

    monkeypatch.setattr(sandbox, "_launch", refuse)
    protection = sandbox.protection.__wrapped__()
    assert protection.mode == "filters"
    assert protection.describe()[-1] == "NOT in force: namespaces (unshare: Operation not permitted)"


def test_without_walls_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*order: object) -> Outcome:
        raise SandboxError("not here")

    monkeypatch.setattr(sandbox, "_launch", refuse)
    with pytest.raises(SandboxError, match=r"so none is run.*With namespaces: not here"):
        sandbox.protection.__wrapped__()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="on Linux only"):
        sandbox.protection.__wrapped__()
