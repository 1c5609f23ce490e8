"""Starts one program behind walls, watches it, and leaves nothing of it behind.  Standard library only; run by path.

Arguments: mode, python, folder, filter (hex, or nothing), prefixes (with colons between), NAME=VALUE of every limit.
Standard input: the program's length in bytes (16 characters), the program, what it is to read.  Standard output, which
the program never holds: one line `ended EXIT_CODE STOPPED SECONDS N_STDOUT_BYTES` or `refused REASON`, then what the
program wrote, errors last.  Two modes:

  "namespaces"  launcher, in new user, mount, pid, network, ipc and uts namespaces, with a file system that holds the
                interpreter (read-only) and one small folder in memory, and no /proc
                  └─ process 1 of the pid namespace: when it ends, the kernel ends every process in there
                       └─ the program
  "filters"     launcher, adopting orphans (and ending them)
                  └─ keeper
                       └─ the program, which may change no file and send no signal

Whatever cannot be set up is an error (`refused`), never a quieter mode: the caller decides.
All limits apply to each process, but for `n_processes`, `wall_s`, `folder_bytes` and `output_bytes`, which apply to all
together.
Neither json nor pathlib nor signal is imported: each takes as long as starting Python (25 ms instead of 75 in all).
"""

# ruff: noqa: PTH102, PTH103, PTH110, PTH116, PTH120, PTH123, PTH208

import ctypes
import os
import resource
import select
import stat
import sys
import time

INSIDE_ID, NOBODY = 1000, 65534
NEW_USER, NEW_MOUNT, NEW_PID, NEW_NET, NEW_IPC, NEW_UTS = (
    0x10000000, 0x20000, 0x20000000, 0x40000000, 0x08000000, 0x04000000,
)  # fmt: skip
ALL_NEW = NEW_USER | NEW_MOUNT | NEW_PID | NEW_NET | NEW_IPC | NEW_UTS
NO_SUID, NO_DEVICES, BIND, RECURSIVE, PRIVATE, DETACH = 2, 4, 4096, 16384, 1 << 18, 2
PDEATHSIG, NO_NEW_PRIVS, SUBREAPER, SECCOMP = 1, 38, 36, 22
PIVOT_ROOT = {"x86_64": 155}.get(os.uname().machine, 41)
MOUNT_SETATTR, CURRENT_FOLDER, AT_RECURSIVE, READ_ONLY = 442, -100, 0x8000, 1
SIGKILL, CHUNK = 9, 65536

libc = ctypes.CDLL(None, use_errno=True)


class Order:
    def __init__(self, mode: str, python: str, folder: str, filter_hex: str, prefixes: str, *limits: str) -> None:
        self.mode, self.python, self.folder, self.prefixes = mode, python, folder, prefixes.split(":")
        self.filter = bytes.fromhex(filter_hex)
        self.limits = {name: float(value) for name, _, value in (limit.partition("=") for limit in limits)}

    def limit(self, name: str) -> int:
        return int(self.limits[name])


def main() -> None:
    order = Order(*sys.argv[1:])
    source = sys.stdin.buffer.read(int(sys.stdin.buffer.read(16)))
    stdin = sys.stdin.buffer.read()
    call("prctl", PDEATHSIG, SIGKILL)
    call("prctl", SUBREAPER, 1)
    try:
        words = run(order, source, stdin)
    except (OSError, ValueError) as error:
        words = [f"refused {error}\n".encode()]
    finally:
        if order.mode == "filters":
            end_descendants()
    sys.stdout.buffer.writelines(words)


def call(name: str, *arguments: object) -> int:
    """A function of libc that answers -1 on error; raises `OSError` then."""
    result = int(getattr(libc, name)(*arguments))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


# ---- the walls -------------------------------------------------------------------------------------------------------


def enter_namespaces(order: Order) -> None:
    """This process into namespaces of its own; its children are in the new pid namespace."""
    outer = (os.geteuid() or NOBODY, os.getegid() or NOBODY)  # root outside would be exempt from the process limit
    if os.geteuid() == 0:
        os.setgroups([])
    launcher, (ready_r, ready_w) = os.getpid(), os.pipe()
    helper = os.fork()
    if helper == 0:  # stays outside: only from there may another user's number be given
        os.close(ready_w)
        os._exit(write_maps(launcher, outer) if os.read(ready_r, 1) else 1)
    try:
        call("unshare", ALL_NEW)
        os.write(ready_w, b"1")
    finally:
        os.close(ready_w)
        os.close(ready_r)
        _, status = os.waitpid(helper, 0)
    if status:
        raise OSError("the user namespace took no id map")
    sources = [(path, os.open(path, os.O_PATH)) for path in visible(order)]  # before access to them is given up
    call("mount", None, b"/", None, RECURSIVE | PRIVATE, None)
    mount_memory(order.folder, "size=1m,mode=755")
    os.chdir(order.folder)
    call("setresgid", INSIDE_ID, INSIDE_ID, INSIDE_ID)
    call("setresuid", INSIDE_ID, INSIDE_ID, INSIDE_ID)
    call("prctl", PDEATHSIG, SIGKILL)  # a change of user takes it away
    build_root(sources, order.limit("folder_bytes"))


def write_maps(pid: int, outer: tuple[int, int]) -> int:
    try:
        write_text(f"/proc/{pid}/setgroups", "deny")
        write_text(f"/proc/{pid}/uid_map", f"{INSIDE_ID} {outer[0]} 1")
        write_text(f"/proc/{pid}/gid_map", f"{INSIDE_ID} {outer[1]} 1")
    except OSError:
        return 1
    return 0


def write_text(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def visible(order: Order) -> list[str]:
    """The interpreter, the libraries that it is linked to, three devices."""
    paths = [*order.prefixes, "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/dev/null",
             "/dev/zero", "/dev/urandom"]  # fmt: skip
    return [path for path in paths if os.path.exists(path)]


def build_root(sources: list[tuple[str, int]], folder_bytes: int) -> None:
    """The current folder becomes the root, read-only: `sources` bound into it, and /box, the one place to write."""
    for path, descriptor in sources:
        bind(path, descriptor)
    os.mkdir("box")
    mount_memory("box", f"size={folder_bytes},nr_inodes=1000,mode=700")
    make_read_only(".", is_recursive=False)
    call("syscall", PIVOT_ROOT, b".", b".")
    call("umount2", b".", DETACH)  # the old root, which lay over the new one
    os.chdir("/box")


def mount_memory(path: str, options: str) -> None:
    options += f",uid={INSIDE_ID},gid={INSIDE_ID}"
    call("mount", b"memory", os.fsencode(path), b"tmpfs", NO_SUID | NO_DEVICES, options.encode())


def bind(path: str, descriptor: int) -> None:
    target = path.lstrip("/")
    if os.path.lexists(target):  # below one that is bound already
        return
    is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    os.makedirs(target if is_folder else os.path.dirname(target), exist_ok=True)
    if not is_folder:
        write_text(target, "")
    call("mount", f"/proc/self/fd/{descriptor}".encode(), os.fsencode(target), None, BIND | RECURSIVE, None)
    if not path.startswith("/dev/"):
        make_read_only(target, is_recursive=True)


def make_read_only(path: str, *, is_recursive: bool) -> None:
    attributes = (ctypes.c_uint64 * 4)(READ_ONLY)  # struct mount_attr: set, clear, propagation, user namespace
    flags = AT_RECURSIVE if is_recursive else 0
    call(
        "syscall",
        MOUNT_SETATTR,
        CURRENT_FOLDER,
        os.fsencode(path),
        flags,
        ctypes.byref(attributes),
        ctypes.sizeof(attributes),
    )


# ---- the program -----------------------------------------------------------------------------------------------------


def run(order: Order, source: bytes, stdin: bytes) -> list[bytes]:
    """What to say of it: a line, what it wrote, its errors."""
    given = os.memfd_create("stdin")
    with os.fdopen(os.dup(given), "wb") as file:
        file.write(stdin)
    os.lseek(given, 0, os.SEEK_SET)
    if order.mode == "namespaces":
        enter_namespaces(order)
    else:
        os.chdir(order.folder)
    with open("program.py", "wb") as file:
        file.write(source)
    pipes = {name: os.pipe() for name in ("stdout", "stderr", "status", "refusal")}
    started_at = time.monotonic()
    keeper = os.fork()
    if keeper == 0:
        keep(order, given, {name: write for name, (_, write) in pipes.items()})
    for _, write in pipes.values():
        os.close(write)
    outputs, stopped = watch({name: read for name, (read, _) in pipes.items()}, order, started_at)
    os.kill(keeper, SIGKILL)
    os.waitpid(keeper, 0)
    if outputs["refusal"]:
        raise OSError(outputs["refusal"].decode())
    code, seconds = outputs["status"].decode() or "-", time.monotonic() - started_at
    line = f"ended {code} {stopped} {seconds} {len(outputs['stdout'])}\n"
    return [line.encode(), bytes(outputs["stdout"]), bytes(outputs["stderr"])]


def keep(order: Order, given: int, pipes: dict[str, int]) -> None:
    """Start the program, collect its orphans, write down how it ended.  Never returns."""
    try:
        call("prctl", PDEATHSIG, SIGKILL)
        program = os.fork()
        if program == 0:
            become_program(order, given, pipes)
        for name in ("stdout", "stderr", "refusal"):
            os.close(pipes[name])
        while True:
            pid, status = os.wait()
            if pid == program:
                os.write(pipes["status"], str(os.waitstatus_to_exitcode(status)).encode())
                break
    finally:
        os._exit(0)


def become_program(order: Order, given: int, pipes: dict[str, int]) -> None:
    try:
        os.setsid()
        for target, descriptor in enumerate((given, pipes["stdout"], pipes["stderr"])):
            os.dup2(descriptor, target)
        if order.mode == "filters" and os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        set_limits(order, 2 if order.mode == "namespaces" else count_own_tasks())
        call("prctl", NO_NEW_PRIVS, 1, 0, 0, 0)
        if order.filter:
            install_filter(order.filter)
        os.execve(order.python, [order.python, "-I", "-S", "-B", "-X", "utf8", "program.py"], {})
    except BaseException as error:
        os.write(pipes["refusal"], str(error).encode())
    finally:
        os._exit(127)


def set_limits(order: Order, n_tasks_before: int) -> None:
    cpu_s = order.limit("cpu_s")
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))  # a signal first, then the end
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, order.limit("memory_bytes")),
        (resource.RLIMIT_FSIZE, order.limit("file_bytes")),
        (resource.RLIMIT_NOFILE, order.limit("n_open_files")),
        (resource.RLIMIT_NPROC, n_tasks_before + order.limit("n_processes")),
    ):
        resource.setrlimit(kind, (value, value))


def count_own_tasks() -> int:
    """Processes and threads of this user: the limit on new ones counts them all."""
    count = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}").st_uid == os.getuid():
                count += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:  # it has ended
            continue
    return count


def install_filter(words: bytes) -> None:
    class Program(ctypes.Structure):
        _fields_ = [("n_words", ctypes.c_ushort), ("words", ctypes.c_char_p)]

    call("prctl", SECCOMP, 2, ctypes.byref(Program(len(words) // 8, words)), 0, 0)


# ---- watching and ending ---------------------------------------------------------------------------------------------


def watch(readers: dict[str, int], order: Order, started_at: float) -> tuple[dict[str, bytearray], str]:
    """What the program wrote, until it ended ("-"), its time was up ("time") or it wrote too much ("output")."""
    most = order.limit("output_bytes")
    outputs = {name: bytearray() for name in readers}
    names = {descriptor: name for name, descriptor in readers.items()}
    while names:
        has_ended = readers["status"] not in names
        left = 0.0 if has_ended else started_at + order.limits["wall_s"] - time.monotonic()
        if left < 0:
            return outputs, "time"
        ready = select.select(list(names), [], [], left)[0]
        if has_ended and not ready:
            break
        for descriptor in ready:
            data = os.read(descriptor, CHUNK)
            outputs[names[descriptor]] += data
            if not data:
                del names[descriptor]
        for name in ("stdout", "stderr"):
            if len(outputs[name]) > most:
                del outputs[name][most:]
                return outputs, "output"
    return outputs, "-"


def end_descendants() -> None:
    """Kill and collect until none is left.  Orphans became children of this process; new ones are found next time."""
    while True:
        parents = parent_of_each()
        for pid in parents:
            if descends(pid, parents):
                try:
                    os.kill(pid, SIGKILL)
                except OSError:
                    continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def parent_of_each() -> dict[int, int]:
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        parents[int(pid)] = int(text.rpartition(")")[2].split()[1])
    return parents


def descends(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == os.getpid():
            return True
    return False


if __name__ == "__main__":
    main()
