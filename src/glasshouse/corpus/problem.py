"""What could not be read, as a record: one bad line or file never stops a corpus, and never vanishes either."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """`source` as the user named it; `line` counts from 1 where the fault has one."""

    source: str
    reason: str
    line: int | None = None


OnProblem = Callable[[Problem], None]
