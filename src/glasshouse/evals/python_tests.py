"""Whether a model's Python passes tests, run behind the sandbox's walls.

The program and the tests are two processes: the tests call the program's functions across a pipe, and only plain data
comes back (`sandbox/harness`).  A program can therefore not pass by leaving early, by printing what a pass looks like,
by changing built-ins or comparison, or by looking for the tests: what decides is out of its reach.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glasshouse.evals.sandbox import Limits, Outcome, run_many

LIMITS = Limits(wall_s=10.0)  # twice the processor time: a busy machine makes no right program wrong
HARNESS = Path(__file__).parent / "sandbox" / "harness.py"
_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TestResult:
    """`reason` says what failed, in one line; empty for a pass."""

    __test__ = False  # pytest takes names that start so for its own

    is_passed: bool
    reason: str = ""


def passes_tests(text: str, answers: Sequence[str]) -> bool:
    """Whether the code in a model's answer passes one of `answers`, each a whole program of tests (lines of assert)."""
    return all_pass_tests([text], [answers])[0]


def all_pass_tests(texts: Sequence[str], answers: Sequence[Sequence[str]]) -> list[bool]:
    """`passes_tests` of many, in parallel."""
    jobs = [(row, code_in(text), tests) for row, text in enumerate(texts) for tests in answers[row]]
    results = run_tests([(code, tests) for _, code, tests in jobs])
    passed = {row for (row, _, _), result in zip(jobs, results) if result.is_passed}
    return [row in passed for row in range(len(texts))]


def run_tests(
    programs: Sequence[tuple[str, str]], limits: Limits = LIMITS, n_at_once: int | None = None
) -> list[TestResult]:
    """Each (code, tests): the code is run, then the tests against what it defines."""
    harness = HARNESS.read_text(encoding="utf-8")
    orders = [(harness, f"{len(code.encode('utf-8', 'replace')):16d}{code}{tests}") for code, tests in programs]
    return [_result(outcome) for outcome in run_many(orders, limits, n_at_once)]


def code_in(text: str) -> str:
    """The Python in an answer: its fenced blocks one after the other (those marked as Python, where any is), else all.

    A block that was not closed reaches to the end.
    """
    blocks = _FENCE.findall(text)
    marked = [code for language, code in blocks if language.lower() in ("python", "py", "python3")]
    return "\n".join(marked or [code for _, code in blocks]) if blocks else text


def _result(outcome: Outcome) -> TestResult:
    if outcome.stopped is not None:
        return TestResult(False, f"stopped: {_STOPPED[outcome.stopped]}")
    try:
        failure = json.loads(outcome.stdout)
    except ValueError:
        return TestResult(False, f"ended before the tests did (exit code {outcome.exit_code})")
    return TestResult(failure is None, failure or "")


_STOPPED = {"time": "it took too long", "cpu": "it computed for too long", "output": "it wrote too much"}
