"""Answers while the client is there: server-sent events, and plain answers that stop when nobody waits for them.

A stream's head is sent with its first event, so that what goes wrong before it has its proper status.  A client that
goes away ends the work at once; one that stops reading is let go after a while (what it has not read waits in memory,
bounded by its max_tokens, and holds up nobody else).
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from glasshouse.serve.errors import ClientGone, as_api_error
from glasshouse.serve.http import Receive, Request, Response, Scope, Send

HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}
END = b"data: [DONE]\n\n"
T = TypeVar("T")
log = logging.getLogger("glasshouse.serve")


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n\n"


class EventStream(Response):
    """Sends what `events` yields, each a dict, then [DONE]; closes `events` however it ends."""

    def __init__(self, events: AsyncGenerator[dict[str, Any], None], write_timeout_s: float) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._events, self._write_timeout_s = events, write_timeout_s
        self._writing_since: float | None = None
        self._has_started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = asyncio.ensure_future(self._write(send))
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            while not (writer.done() or gone.done() or self._is_stuck()):
                await asyncio.wait((writer, gone), timeout=self._write_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if writer.done():
                writer.result()
        finally:
            await _cancel(writer, gone)
            await self._events.aclose()

    async def _write(self, send: Send) -> None:
        try:
            async for value in self._events:
                await self._send(send, event(value))
            await self._send(send, END)
        except Exception as error:
            if not self._has_started:
                raise
            if (told := as_api_error(error)).status >= 500:
                log.exception("an answer broke off")
            await self._send(send, event(told.body()))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, body: bytes) -> None:
        self._writing_since = time.monotonic()
        if not self._has_started:
            self._has_started = True
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        self._writing_since = None

    def _is_stuck(self) -> bool:
        since = self._writing_since
        return since is not None and time.monotonic() - since >= self._write_timeout_s


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client goes away."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(request.receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        await _cancel(working, gone)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
