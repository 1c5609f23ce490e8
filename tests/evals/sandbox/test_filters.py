"""The filter, run by a small interpreter of the same machine as the kernel's."""

import struct

import pytest

from glasshouse.evals.sandbox.filters import NEVER, OUTSIDE, program_filter

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50001, 0x50026


def verdict(words: bytes, number: int, architecture: int, *arguments: int) -> int:
    """What the kernel would do with a call: classic BPF over struct seccomp_data."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    place, accumulator = 0, 0
    while True:
        operation, if_true, if_false, operand = struct.unpack_from("=HBBI", words, 8 * place)
        place += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("=I", data, operand)[0]
        elif operation == 0x06:
            return operand
        else:
            holds = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: accumulator & operand}[operation]
            place += if_true if holds else if_false


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_refused_and_allowed(machine):
    column, architecture = ARCHITECTURES[machine]
    alone, outside = program_filter(True, machine), program_filter(False, machine)
    assert alone is not None and outside is not None
    for calls, refused_by in ((NEVER, (alone, outside)), (OUTSIDE, (outside,))):
        for name, numbers in calls.items():
            if (number := numbers[column]) is not None:
                assert {verdict(w, number, architecture) for w in refused_by} == {EPERM}, name
    kill = OUTSIDE["kill"][column]
    read, execve = ((0, 59), (63, 221))[column]
    assert kill is not None
    assert [verdict(alone, n, architecture) for n in (kill, read, execve)] == [ALLOW] * 3
    assert verdict(alone, read, architecture ^ 1) == KILL


@pytest.mark.parametrize(
    ("machine", "clone", "openat", "prlimit"), [("x86_64", 56, 257, 302), ("aarch64", 220, 56, 261)]
)
def test_flags_decide(machine, clone, openat, prlimit):
    architecture = ARCHITECTURES[machine][1]
    alone, outside = program_filter(True, machine), program_filter(False, machine)
    assert alone is not None and outside is not None
    assert verdict(alone, clone, architecture, 17) == ALLOW  # fork
    assert verdict(alone, clone, architecture, 0x10000000 | 17) == EPERM  # with a user namespace
    assert verdict(alone, 435, architecture) == ENOSYS  # clone3, whose flags cannot be seen
    reading, writing = (0, 0, 0o2000000), (0, 0, 0o1)
    assert verdict(alone, openat, architecture, *writing) == ALLOW
    assert [verdict(outside, openat, architecture, *flags) for flags in (reading, writing)] == [ALLOW, EPERM]
    assert [verdict(outside, prlimit, architecture, pid) for pid in (0, 1)] == [ALLOW, EPERM]


def test_the_other_numbering_is_refused():
    words = program_filter(True, "x86_64")
    assert words is not None and verdict(words, 0x40000000 | 41, ARCHITECTURES["x86_64"][1]) == EPERM


def test_unknown_architecture():
    assert program_filter(True, "riscv64") is None
