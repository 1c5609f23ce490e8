"""Errors in OpenAI's shape: {"error": {"message", "type", "param", "code"}}, whatever went wrong and wherever.

What a client can mend is 4xx with our own message (what was given, what is allowed, what to do); a defect of ours is
500 and says nothing of its inside.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from glasshouse.core.errors import ConfigError, DataError, GlasshouseError, suggest
from glasshouse.infer.background import EngineStopped, QueueFull
from glasshouse.serve.http import FastAPI, HTTPException, Request, RequestValidationError, Response

RETRY_AFTER_S = 1
KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
HTTP_MESSAGES = {
    404: "there is nothing at this path. The API is under /v1: see /openapi.json",
    405: "this path does not take this method",
}


class APIError(GlasshouseError):
    """An answer other than 200, ready to be sent."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.headers = status, param, code, dict(headers or {})

    def response(self) -> Response:
        return JSON(self.body(), self.status, self.headers)

    def body(self) -> dict[str, Any]:
        kind = KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


class ClientGone(Exception):
    """Nobody is left to answer."""


class JSON(Response):
    """A JSON answer.  Half a surrogate pair, which JSON may carry and UTF-8 may not, becomes a question mark."""

    def __init__(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        super().__init__(content.encode("utf-8", "replace"), status, dict(headers or {}), "application/json")


def as_api_error(error: Exception) -> APIError:
    """What a client is told of `error`."""
    match error:
        case APIError():
            return error
        case QueueFull():
            return APIError(429, str(error), code="queue_full", headers={"Retry-After": str(RETRY_AFTER_S)})
        case EngineStopped():
            return APIError(503, str(error), code="not_ready", headers={"Retry-After": str(RETRY_AFTER_S)})
        case ConfigError() | DataError():
            return APIError(400, str(error))
        case RecursionError():
            return APIError(400, "the request is nested too deeply")
        case RequestValidationError():
            return _explain(error.errors(), error.body)
        case HTTPException(status_code=status):
            message = HTTP_MESSAGES.get(status, str(error.detail))
            code = "not_found" if status == 404 else None
            return APIError(status, message, code=code, headers=error.headers)
        case GlasshouseError():
            return APIError(500, str(error))
    return APIError(500, "the server made an error of its own; its log says which")


def _explain(errors: Sequence[Any], body: Any) -> APIError:
    """The first fault of a body that does not fit, with the path to it as OpenAI names it: messages.0.role."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return APIError(400, f"the body is not valid JSON: {first['ctx']['error']} at character {first['loc'][-1]}")
    path = _path_in(body, first["loc"][1:], is_missing=first["type"] == "missing")
    if not path:
        return APIError(400, f"the body cannot be read: {first['msg']}. Send an object as JSON, with the header "
                             "Content-Type: application/json")  # fmt: skip
    param = ".".join(path)
    if first["type"] == "extra_forbidden":
        return APIError(400, f'unknown parameter "{param}"', param=param, code="unknown_parameter")
    if first["type"] == "missing":
        return APIError(400, f'"{param}" is missing', param=param, code="missing_required_parameter")
    return APIError(400, f'"{param}": {first["msg"]}{_given(first["input"])}', param=param, code="invalid_value")


def _path_in(body: Any, parts: Sequence[Any], *, is_missing: bool) -> list[str]:
    """The parts that lead through the body itself; the others name the types that were tried on it."""
    path = []
    for number, part in enumerate(parts):
        is_inside = part in body if isinstance(body, Mapping) else isinstance(body, list) and isinstance(part, int)
        if is_inside:
            path.append(str(part))
            body = body[part]
        elif is_missing and number == len(parts) - 1:
            path.append(str(part))
    return path


def _given(value: Any) -> str:
    return f" (given: {value!r:.80})" if isinstance(value, str | int | float | bool | None) else ""


def install_handlers(app: FastAPI) -> None:
    """Every error of every route, and of no route, takes OpenAI's shape.  `RequestLog` answers for defects of ours."""

    async def answer(_: Request, error: Exception) -> Response:
        return as_api_error(error).response()

    async def answer_nobody(_: Request, __: Exception) -> Response:
        return Response(status_code=499)

    for kind in (GlasshouseError, RequestValidationError, HTTPException, RecursionError):
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(ClientGone, answer_nobody)


def unknown_name(kind: str, name: str, known: Sequence[str]) -> str:
    """`unknown_name("model", "quikstart", ["quickstart"])`: one line with the nearest name and all names."""
    return f"there is no {kind} {name!r:.100}.{suggest(name[:100], known)} There is: {', '.join(known)}"
