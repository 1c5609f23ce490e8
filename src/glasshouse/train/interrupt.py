"""Ctrl-C and SIGTERM: finish the step, save, and leave with a word on how to go on."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from glasshouse.core.errors import GlasshouseError


class Interrupted(GlasshouseError):
    """Stopped by a signal after the state was saved.  Exit code as a shell gives it: 130 Ctrl-C, 143 SIGTERM."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class SignalWatch:
    """Within it the first SIGINT or SIGTERM only sets `received`; a second one raises KeyboardInterrupt at once.

    Outside the main thread signals cannot be watched, and nothing is changed.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "SignalWatch":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        # no printing here: a handler may run inside a half-done write to the same stream
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
