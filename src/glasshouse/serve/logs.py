"""One JSON line for each request and each event, to standard error.  No prompts and no answers, unless asked.

{"at": "2026-01-31T12:00:00.123+00:00", "level": "info", "event": "request", "method": "POST",
 "path": "/v1/chat/completions", "status": 200, "seconds": 0.41, "model": "quickstart", "n_prompt_tokens": 31, ...}
"""

import datetime
import json
import logging
import time
from typing import Any

from glasshouse.serve.errors import as_api_error
from glasshouse.serve.generation import Record
from glasshouse.serve.http import ASGIApp, Message, Receive, Scope, Send
from glasshouse.serve.metrics import Metrics

log = logging.getLogger("glasshouse.serve")
NO_ROUTE = "none"
UNANSWERED = 499  # the client left before there was an answer


class JSONLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"at": at, "level": record.levelname.lower()}
        line |= getattr(record, "details", None) or {"event": "message", "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logging() -> None:
    """JSON lines for the server and for what runs it."""
    handler = logging.StreamHandler()
    handler.setFormatter(JSONLines())
    for name in ("glasshouse.serve", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = ([handler] if name != "uvicorn.error" else []), name == "uvicorn.error"
        logger.setLevel(logging.INFO if name == "glasshouse.serve" else logging.WARNING)


class RequestLog:
    """ASGI middleware, the outermost: measures each request, says so once it is over, and answers for our defects."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = Record()
        scope.setdefault("state", {})["record"] = record
        status = UNANSWERED

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            log.exception("a request failed", extra={"details": {"event": "failure", "path": scope["path"]}})
            if status == UNANSWERED:
                await as_api_error(error).response()(scope, receive, noting)
        finally:
            self._finish(scope, status, record)

    def _finish(self, scope: Scope, status: int, record: Record) -> None:
        seconds = time.perf_counter() - record.started_at
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        self._metrics.observe(route, status, seconds, record)
        details = {
            "event": "request",
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "seconds": round(seconds, 4),
            "client": (scope.get("client") or ("unknown",))[0],
            "key": record.key_id,
            "model": record.model,
            "n_prompt_tokens": record.n_prompt_tokens,
            "n_generated_tokens": record.n_generated_tokens,
            "seconds_to_first_token": _rounded(record.seconds_to_first_token),
            "seconds_per_token": _rounded(record.seconds_per_token),
            **record.texts,
        }
        log.info("request", extra={"details": {key: value for key, value in details.items() if value is not None}})


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 5)
