"""Whether the verdict is true, above all where a program would rather have another."""

import json

import pytest

from glasshouse.evals.python_tests import all_pass_tests, code_in, passes_tests, run_tests
from glasshouse.evals.sandbox import Limits

TESTS = "assert double(2) == 4\nassert double(5) == 10\nassert double('a') == 'aa'"
WRONG = "def double(x): return 7\n"


def reasons(*programs: str, tests: str = TESTS) -> list[str]:
    return [result.reason for result in run_tests([(program, tests) for program in programs], Limits(wall_s=20))]


def test_right_and_wrong():
    right, wrong, absent, broken = reasons(
        "def double(x): return x * 2", "def double(x): return x + 2", "def twice(x): return x * 2", "def double(x:"
    )
    assert right == "" and wrong.startswith("AssertionError") and "double" in absent and "SyntaxError" in broken


CHEATS = {
    "leaves early": "import sys; sys.exit(0)",
    "leaves at once": "import os; os._exit(0)",
    "leaves when called": "import os\ndef double(x): os._exit(0)",
    "prints a pass": WRONG + "print('null', flush=True)",
    "writes a pass everywhere": WRONG + "import os\nfor fd in range(50):\n  try: os.write(fd, b'null')\n"
                                        "  except OSError: pass\nos._exit(0)",
    "equals everything": "class Any:\n  def __eq__(self, other): return True\ndef double(x): return Any()",
    "text that equals everything": "class Any(str):\n  def __eq__(self, other): return True\n"
                                   "  __hash__ = str.__hash__\ndef double(x): return Any('b')",
    "changes built-ins": WRONG + "import builtins\nbuiltins.AssertionError = None\nbuiltins.exec = lambda *a: None",
    "changes the harness": WRONG + "import __main__\n__main__.run_tests = lambda *a: None\n"
                                   "__main__.Remote.__eq__ = lambda *a: True",
    "takes the place of a built-in": "def double(x): return x\ndef set(x): return x",
    "catches the assertion": "import sys\nsys.excepthook = lambda *a: None\n" + WRONG,
    "reads the tests": "import os\nseen = b''.join(os.read(fd, 9999) for fd in (0,))\n"
                       "def double(x): return 4 if b'4' in seen else 0",
    "kills its judge": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n" + WRONG,
    "answers with what is no answer": "import os\nfor fd in range(3, 50):\n"
                                      "  try: os.write(fd, b'{\"value\": {}}\\n' * 9)\n  except OSError: pass",
}  # fmt: skip


def test_no_cheat_passes():
    results = dict(zip(CHEATS, reasons(*CHEATS.values())))
    assert [cheat for cheat, reason in results.items() if not reason] == []


def test_the_tests_would_have_passed():
    """The same cheats fail for being wrong: an honest program beside each of them passes."""
    honest = "def double(x): return x * 2\n"
    harmless = [
        honest + "print('null')",
        honest + "import builtins; builtins.print = None",
        honest + "def set(x): pass",
    ]
    assert reasons(*harmless) == ["", "", ""]


def test_values_cross_both_ways():
    code = """
import math
from collections import OrderedDict, namedtuple
Point = namedtuple("Point", "x y")
class Node:
    def __init__(self, value): self.value, self.next = value, None
    def __iter__(self): return iter([self.value])
def same(x): return x
def point(): return Point(1, 2)
def sort(items): items.sort()
def empty(table): table.clear()
def counts(): return OrderedDict(a=1)
def chain(node): return node.next.value
def numbers(): yield from (1, 2)
def fail(kind): raise kind("no")
def apply(kind, x): return kind(x)
"""
    tests = """
for value in (None, True, 0, -2**70, 1.5, 1j, 'é', b'x', [1, [2]], (1,), {1}, frozenset((1,)), {1: (2, {3: None})}):
    answer = same(value)
    assert answer == value and type(answer) is type(value)
assert same(math.inf) == math.inf and point() == (1, 2) and counts() == {'a': 1} and list(numbers()) == [1, 2]
items, table = [3, 1, 2], {1: 2}
sort(items), empty(table)
assert items == [1, 2, 3] and table == {}
node = Node(1)
node.next = Node(2)
assert chain(node) == 2 and node.value == 1 and list(node) == [1]
assert apply(int, '12') == 12 and [Node(1), Node(1)][0] != Node(1)
try:
    fail(KeyError)
except KeyError:
    pass
else:
    raise AssertionError
"""
    assert reasons(code, tests=tests) == [""]


def test_any_program_of_tests_is_enough():
    code = "def f(): return 1"
    assert passes_tests(code, ("assert f() == 2", "assert f() == 1")) and not passes_tests(code, ("assert f() == 2",))
    assert all_pass_tests(["x = 1", code], [("assert x == 1",), ()]) == [True, False]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1", "x = 1"),
        ("Here:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        ("```py\nx = 1\n```\nand\n```Python\ny = 2\n```\n```\n$ python x.py\n```", "x = 1\n\ny = 2\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```python\nx = 1", "x = 1"),
    ],
)
def test_code_in(text, code):
    assert code_in(text) == code


def test_the_reason_says_what_stopped_it():
    forks = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
    results = run_tests(
        [("while True: pass", ""), ("import time; time.sleep(1000)", ""), (forks, "")], Limits(wall_s=0.3)
    )
    assert [result.reason for result in results] == ["stopped: it took too long"] * 3
    sockets, disk = reasons("import socket; socket.socket()", "while True: open('x', 'ab').write(b'x' * 100_000)")
    assert sockets.startswith("PermissionError") and disk.startswith(("OSError", "PermissionError"))
    assert reasons("while True: print('x' * 1000)") == ["stopped: it wrote too much"]


def test_first_reference_solutions(shared_data):
    assert failures(shared_data, 3) == []


@pytest.mark.slow
def test_all_reference_solutions(shared_data):
    assert failures(shared_data, None) == []


def failures(shared_data, n: int | None) -> list[tuple[int, str]]:
    lines = (shared_data / "sft" / "mbpp-511-974.jsonl").read_text(encoding="utf-8").splitlines()[:n]
    tasks = [json.loads(line) for line in lines]
    programs = [(t["code"], "\n".join([t["test_setup_code"], *t["test_list"]])) for t in tasks]
    results = run_tests(programs, Limits(wall_s=60, cpu_s=60))
    return [(t["task_id"], r.reason) for t, r in zip(tasks, results) if not r.is_passed]
