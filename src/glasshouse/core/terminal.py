"""What a person sees while stages run: one line a finished thing, one bar for what is under way, with its ETA.

Stages get a `Terminal` and know nothing of rich.  `Terminal(is_quiet=True)` prints nothing, for tests and libraries.
Bars are drawn only on a real terminal; elsewhere (logs, CI) a line is printed every 30 s instead.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from glasshouse.core.environment import is_colour_forbidden

NAME_WIDTH = 11


class Task:
    """One piece of long work.  `advance_to(done, note)` moves the bar; `note` is free text beside it."""

    def __init__(self, terminal: "Terminal", name: str, total: float, bar: Progress | None, bar_id: TaskID) -> None:
        self._terminal, self._name, self._total, self._bar, self._id = terminal, name, total, bar, bar_id
        self._started_at = self._printed_at = time.monotonic()

    def advance_to(self, done: float, note: str = "") -> None:
        if self._bar is not None:
            self._bar.update(self._id, completed=done, note=note)
            return
        now = time.monotonic()
        if now - self._printed_at >= 30 and done > 0:
            self._printed_at = now
            left_s = (now - self._started_at) * (self._total - done) / done
            self._terminal.line(self._name, f"{100 * done / self._total:.0f} % {note} · {format_seconds(left_s)} left")


class Terminal:
    """Prints to standard output; every method is safe from any stage."""

    def __init__(self, is_quiet: bool = False, console: Console | None = None) -> None:
        self.is_quiet = is_quiet
        self.console = console or Console(
            highlight=False, no_color=is_colour_forbidden(), soft_wrap=not sys.stdout.isatty()
        )

    def line(self, name: str, text: str) -> None:
        """`name` in a fixed column, then plain text (never parsed as markup: it may hold model output)."""
        if not self.is_quiet:
            self.console.print(Text.assemble((_column(name), "bold green"), Text(text)))

    def warn(self, name: str, text: str) -> None:
        if not self.is_quiet:
            self.console.print(Text.assemble((_column(name), "bold yellow"), Text(text)))

    @contextmanager
    def task(self, name: str, total: float) -> Iterator[Task]:
        if self.is_quiet or not self.console.is_terminal:
            yield Task(self, name, total, None, TaskID(0))
            return
        columns = (
            TextColumn(f"[bold green]{name:<{NAME_WIDTH - 1}}"), BarColumn(bar_width=24), TaskProgressColumn(),
            TextColumn("{task.fields[note]}", markup=False), TimeRemainingColumn(compact=True),
        )  # fmt: skip
        with Progress(*columns, console=self.console, transient=True) as bar:
            yield Task(self, name, total, bar, bar.add_task(name, total=total, note=""))


def _column(name: str) -> str:
    """A fixed column; a longer name keeps a space behind it."""
    return f"{name:<{NAME_WIDTH}}" if len(name) < NAME_WIDTH else f"{name} "


def format_seconds(seconds: float) -> str:
    """`format_seconds(200)` -> `3 min 20 s`; under ten seconds one decimal; over an hour `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02d} min" if hours else f"{minutes} min {rest:02d} s"


def format_count(count: float) -> str:
    """`format_count(2_600_000)` -> `2.6 M`."""
    for limit, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= limit:
            return f"{count / limit:.3g} {unit}"
    return f"{count:.3g}"


def format_bytes(n_bytes: float) -> str:
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(n_bytes) >= limit:
            return f"{n_bytes / limit:.3g} {unit}"
    return f"{n_bytes:.0f} B"
