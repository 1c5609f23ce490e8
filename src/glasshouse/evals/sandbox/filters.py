"""A seccomp filter: which system calls a model-written program may not make.  Pure: words in, bytes out.

It needs no privilege, works inside containers, and cannot be taken off again.  It forbids sockets, looking into other
processes, and new namespaces; where the program has no file system and no process numbers of its own (`is_alone` False)
also signals and everything that changes a file.
Source: Linux, Documentation/userspace-api/seccomp_filter.rst; the classic BPF of bpf(4).
Left out: architectures other than x86-64 and arm64 (there the filter is None, and the sandbox says so).
"""

import platform
import struct

NOT_PERMITTED, NOT_THERE = 1, 38  # EPERM, ENOSYS
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # offsets into struct seccomp_data
_X32_BIT = 0x40000000  # the other numbering of x86-64
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWUSER, PID, NET, IPC, UTS, CGROUP, NS
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC

# name: number on x86-64, on arm64 (None: it has no such call)
_Numbers = dict[str, tuple[int | None, int | None]]
NEVER: _Numbers = {
    "socket": (41, 198), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438), "kcmp": (312, 272), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40),
    "umount2": (166, 39), "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430),
    "pivot_root": (155, 41), "chroot": (161, 51), "bpf": (321, 280), "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425), "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "open_by_handle_at": (304, 265), "process_madvise": (440, 440),
    "memfd_create": (319, 279),
}  # fmt: skip
OUTSIDE: _Numbers = {  # what reaches others where nothing else stands between
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
    "creat": (85, None), "truncate": (76, 45), "ftruncate": (77, 46), "fallocate": (285, 47),
    "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "mknod": (133, None), "mknodat": (259, 33),
    "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "link": (86, None), "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36), "chmod": (90, None),
    "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None), "lchown": (94, None),
    "fchown": (93, 55), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88), "mq_open": (240, 180),
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186),
}  # fmt: skip
_CLONE, _CLONE3, _OPEN, _OPENAT, _OPENAT2, _PRLIMIT = (
    (56, 220), (435, 435), (2, None), (257, 56), (437, 437), (302, 261),
)  # fmt: skip
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7), "arm64": (1, 0xC00000B7)}


def program_filter(is_alone: bool, machine: str | None = None) -> bytes | None:
    """`struct sock_filter[]` for this machine's architecture; None where its numbers are not known here."""
    known = _ARCHITECTURES.get(machine or platform.machine())
    if known is None:
        return None
    column, architecture = known
    words = [(_LOAD, 0, 0, _ARCHITECTURE_AT), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL)]
    words += [(_LOAD, 0, 0, _NUMBER_AT)]
    if column == 0:
        words += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _ERROR | NOT_PERMITTED)]
    for numbers in (NEVER,) if is_alone else (NEVER, OUTSIDE):
        words += [word for call in numbers.values() for word in _refuse(call[column], NOT_PERMITTED)]
    # clone3 and openat2 keep their flags in memory, where no filter looks; libraries then use the older call.
    words += _refuse(_CLONE3[column], NOT_THERE)
    words += _refuse_bits(_CLONE[column], 0, _NEW_NAMESPACES)
    if not is_alone:
        words += _refuse(_OPENAT2[column], NOT_THERE)
        words += _refuse_bits(_PRLIMIT[column], 0, 0xFFFFFFFF)  # limits of another process
        words += _refuse_bits(_OPEN[column], 1, _WRITING) + _refuse_bits(_OPENAT[column], 2, _WRITING)
    words += [(_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *word) for word in words)


_Word = tuple[int, int, int, int]  # operation, jump if true, jump if false, operand


def _refuse(number: int | None, error: int) -> list[_Word]:
    return [] if number is None else [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | error)]


def _refuse_bits(number: int | None, argument: int, bits: int) -> list[_Word]:
    """Refuse the call when any of `bits` is set in the low half of one argument."""
    if number is None:
        return []
    return [
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument),
        (_ANY_BIT, 0, 1, bits),
        (_RETURN, 0, 0, _ERROR | NOT_PERMITTED),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
