"""One piece of work done beside training, such as writing a checkpoint, whose failure training must hear of."""

import threading
from collections.abc import Callable


class Errand:
    """Starts at once in a thread that does not keep the process from ending."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    @property
    def has_failed(self) -> bool:
        return self._error is not None and not self.is_running

    def finish(self) -> None:
        """Wait for the end; raises what the work raised."""
        self.wait()
        if self._error is not None:
            raise self._error

    def wait(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # handed to whoever waits
            self._error = error
