"""One engine shared by many: its loop runs in a thread of its own, and answers come back to asyncio.

Requests are checked where they are asked for, so that a wrong one raises before it waits for anything.  The queue is
bounded: `QueueFull` says to come back later.  An error in the loop reaches every request it concerns.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from collections.abc import Sequence as SequenceOf
from typing import Any, TypeVar

from glasshouse.core.errors import GlasshouseError
from glasshouse.infer.engine import Engine, Grammar
from glasshouse.infer.reading import Reading
from glasshouse.infer.sampling import SamplingConfig
from glasshouse.infer.sequence import Delta, Sequence

T = TypeVar("T")
R = TypeVar("R", bound=Reading)
Item = Delta | BaseException | None  # None: it was cancelled, or read to its end


class QueueFull(GlasshouseError):
    """Too many requests are waiting."""


class EngineStopped(GlasshouseError):
    """The engine does not take, or no longer answers, requests."""


class _Reader:
    """Where the deltas of one request go: a queue that belongs to an event loop."""

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence
        self.loop = asyncio.get_running_loop()
        self.items: asyncio.Queue[Item] = asyncio.Queue()


class BackgroundEngine:
    """`start`, then `stream` from any event loop, then `stop`."""

    def __init__(self, engine: Engine, *, max_waiting: int = 256) -> None:
        self.engine, self.max_waiting = engine, max_waiting
        self._work = threading.Condition()
        self._commands: deque[Callable[[], None]] = deque()
        self._readers: dict[Sequence, _Reader] = {}  # touched by the loop's thread only
        self._n_arriving = 0  # submitted, and not yet seen by the loop
        self._is_stopping = self._drains = False
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and not self._is_stopping

    @property
    def n_waiting(self) -> int:
        return self._n_arriving + self.engine.stats().n_waiting

    def start(self) -> None:
        if self._thread is not None:
            raise EngineStopped("this engine was started before; make a new one")
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    def stop(self, drains: bool = True) -> None:
        """Take no more requests; finish those that are there (`drains`), or end them with `EngineStopped`.  Blocks."""
        with self._work:
            self._is_stopping, self._drains = True, drains
            self._work.notify()
        if self._thread is not None:
            self._thread.join()

    async def stream(
        self, ids: SequenceOf[int], sampling: SamplingConfig, grammar: Grammar | None = None
    ) -> AsyncIterator[Delta]:
        """One `Delta` a token.  Closing the iterator cancels the request."""
        reader = self._submit(self.engine.prepare(ids, sampling, grammar=grammar))
        try:
            while True:
                item = await reader.items.get()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    return
                yield item
                if item.finish_reason is not None:
                    return
        finally:
            self._let_go(reader)

    async def read(self, ids: SequenceOf[int], reading: R) -> R:
        """The prompt read for its own sake (`infer.reading`): the same object, filled."""
        reader = self._submit(self.engine.prepare_reading(ids, reading))
        try:
            if isinstance(item := await reader.items.get(), BaseException):
                raise item
            return reading
        finally:
            self._let_go(reader)

    async def call(self, function: Callable[[Engine], T]) -> T:
        """`function(engine)` in the loop's thread, between two steps."""
        if not self.is_running:
            raise EngineStopped("the engine is not running")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            try:
                result = function(self.engine)
            except BaseException as error:
                _post(loop, _settle, future, None, error)
            else:
                _post(loop, _settle, future, result, None)

        self._command(run)
        return await future

    def _submit(self, sequence: Sequence) -> _Reader:
        if not self.is_running:
            raise EngineStopped("the engine is not running")
        reader = _Reader(sequence)

        def submit() -> None:
            self._n_arriving -= 1
            self._readers[reader.sequence] = reader
            self.engine.submit(reader.sequence)

        with self._work:
            if self.n_waiting >= self.max_waiting:
                raise QueueFull(f"{self.n_waiting} requests are waiting already, as many as allowed; try again later")
            self._n_arriving += 1
            self._commands.append(submit)
            self._work.notify()
        return reader

    def _let_go(self, reader: _Reader) -> None:
        if reader.sequence.finish_reason is None:
            self._command(lambda: self._cancel(reader.sequence))

    def _command(self, command: Callable[[], None]) -> None:
        with self._work:
            self._commands.append(command)
            self._work.notify()

    # ---- the loop's thread -------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while self._obey():
            try:
                deltas = self.engine.step()
            except BaseException as error:
                self._end_all(error)
                continue
            self._deliver((self._readers.get(sequence), delta) for sequence, delta in deltas)
            self._deliver((self._readers.get(sequence), sequence.error) for sequence in self.engine.failed)
            self._deliver((self._readers.get(sequence), None) for sequence in self.engine.read)
        self._end_all(EngineStopped("the engine was stopped before this request was answered"))

    def _obey(self) -> bool:
        """Do what was asked; wait where there is nothing to do.  False: stop."""
        with self._work:
            while not (self._commands or self.engine.has_work or self._is_stopping):
                self._work.wait()
            commands = list(self._commands)
            self._commands.clear()
            is_stopping = self._is_stopping
        for command in commands:
            command()
        return not is_stopping or (self._drains and self.engine.has_work)

    def _deliver(self, items: Iterable[tuple[_Reader | None, Item]]) -> None:
        """All of a step's items for one event loop in one call: waking it costs more than a token."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Reader, Item]]] = {}
        for reader, item in items:
            if reader is not None:
                by_loop.setdefault(reader.loop, []).append((reader, item))
                if reader.sequence.finish_reason is not None:
                    self._readers.pop(reader.sequence, None)
        for loop, pairs in by_loop.items():
            _post(loop, _put_all, pairs)

    def _cancel(self, sequence: Sequence) -> None:
        self.engine.cancel(sequence)
        self._readers.pop(sequence, None)

    def _end_all(self, error: BaseException) -> None:
        readers = list(self._readers.values())
        for reader in readers:
            self.engine.cancel(reader.sequence)
        self._deliver((reader, error) for reader in readers)


def _post(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:  # the event loop was closed: nobody is left to read
        return


def _put_all(pairs: list[tuple[_Reader, Item]]) -> None:
    for reader, item in pairs:
        reader.items.put_nowait(item)


def _settle(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
