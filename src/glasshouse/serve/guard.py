"""The door: who may come in, from where, how often and with how much.  Runs before anything reads a request.

Host: a server on loopback answers only to its own names.  Else a foreign page could give its own name this machine's
address (DNS rebinding) and would then be of the "same origin".
Origin: browsers name the page a request comes from; only this server's own pages and those allowed may ask.
Keys: everything but liveness and the studio's page files, where the server asks for keys.
Body: refused when it is too large, or stops coming.  What was sent is read to its end (up to a limit) before the
answer: a client that is still sending would otherwise see a broken connection instead of the reason.
"""

import asyncio
import math
from collections.abc import Iterable
from urllib.parse import urlsplit

from glasshouse.serve.config import LOCAL_NAMES, ServeConfig
from glasshouse.serve.errors import APIError
from glasshouse.serve.http import ASGIApp, HTTPException, Message, Receive, Response, Scope, Send
from glasshouse.serve.keys import KeyStore
from glasshouse.serve.limits import RateLimiter

MAX_DISCARDED_BYTES = 64 * 2**20
ALIVE = ("/health", "/ready")  # asked by machines that hold no key
PAGES, PAGE_DATA = "/studio", "/studio/api"  # page files are open: a browser sends no key with a link
CORS_HEADERS = {
    "access-control-allow-methods": "GET, POST, DELETE",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": "600",
}
Headers = dict[str, str]


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, config: ServeConfig, keys: KeyStore) -> None:
        self._app, self._config, self._keys = app, config, keys
        self._limiter = RateLimiter(config.requests_per_minute) if config.requests_per_minute else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._check_host(headers)
            shared = self._shared_headers(headers)
            if shared and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await Response(status_code=204, headers=shared | CORS_HEADERS)(scope, receive, send)
                return
            self._check_key(scope, headers)
            self._check_length(headers)
        except APIError as refusal:
            await _discard(receive)
            await refusal.response()(scope, receive, send)
            return
        await self._app(scope, self._limited(receive), _adding({"x-content-type-options": "nosniff", **shared}, send))

    def _check_host(self, headers: Headers) -> None:
        allowed = set(self._config.allowed_hosts)
        if self._config.is_exposed and not allowed:
            return  # behind whatever name it is reached by; keys are asked for
        name = _host_name(headers.get("host", ""))
        if "*" not in allowed and name not in allowed | {*LOCAL_NAMES, self._config.host}:
            raise APIError(403, f"this server does not answer to the host {name!r:.100}. Allow it: --allowed-hosts",
                           code="host_not_allowed")  # fmt: skip

    def _shared_headers(self, headers: Headers) -> Headers:
        """What tells a browser that an allowed foreign page may read the answer; {} for our own pages."""
        origin = headers.get("origin")
        if origin is None or _address(origin) == headers.get("host", ""):
            return {}
        if origin not in self._config.allowed_origins and "*" not in self._config.allowed_origins:
            raise APIError(403, f"pages of {origin!r:.100} may not use this server. Allow them: --allowed-origins",
                           code="origin_not_allowed")  # fmt: skip
        return {"access-control-allow-origin": origin, "vary": "Origin"}

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        path = scope["path"]
        if path in ALIVE:
            return
        is_page = path == "/" or (path.startswith(PAGES) and not path.startswith(PAGE_DATA))
        client = (scope.get("client") or ("unknown",))[0]
        if self._config.asks_for_keys and not is_page:
            kind, _, text = headers.get("authorization", "").partition(" ")
            key = self._keys.find(text.strip()) if kind.lower() == "bearer" else None
            if key is None:
                raise APIError(401, "this server asks for an API key: send Authorization: Bearer KEY. Its owner makes "
                                    "one by: glass key create NAME", code="invalid_api_key",
                               headers={"WWW-Authenticate": "Bearer"})  # fmt: skip
            client = scope["state"]["record"].key_id = key.id
        wait_s = self._limiter.take(client) if self._limiter and not is_page else 0.0
        if wait_s:
            raise APIError(429, f"more than {self._config.requests_per_minute} requests a minute; wait {wait_s:.1f} s",
                           code="rate_limit_exceeded", headers={"Retry-After": str(math.ceil(wait_s))})  # fmt: skip

    def _check_length(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise APIError(400, "the header Content-Length is no number")
        if int(length) > self._config.max_body_bytes:
            raise self._too_large()

    def _too_large(self) -> APIError:
        return APIError(413, f"a body may have {self._config.max_body_bytes:,} bytes", code="body_too_large")

    def _limited(self, receive: Receive) -> Receive:
        """The body, counted and timed; raises as `HTTPException`, which the framework lets through."""
        n_bytes, is_whole = 0, False

        async def limited() -> Message:
            nonlocal n_bytes, is_whole
            if is_whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self._config.read_timeout_s)
            except TimeoutError:
                raise HTTPException(408, f"the body stopped coming for {self._config.read_timeout_s:g} s") from None
            n_bytes += len(message.get("body", b""))
            is_whole = message["type"] != "http.request" or not message.get("more_body", False)
            if n_bytes > self._config.max_body_bytes:
                await _discard(receive)
                raise HTTPException(413, str(self._too_large()))
            return message

        return limited


def _address(origin: str) -> str:
    """`"http://localhost:8000"` -> `"localhost:8000"`; "" for "null" and for what is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _host_name(host: str) -> str:
    """`"[::1]:8000"` -> `"::1"`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


async def _discard(receive: Receive) -> None:
    n_bytes = 0
    try:
        while n_bytes < MAX_DISCARDED_BYTES:
            message = await asyncio.wait_for(receive(), 1.0)
            n_bytes += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return
    except TimeoutError:
        return


def _adding(headers: Headers, send: Send) -> Send:
    extra: Iterable[tuple[bytes, bytes]] = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]

    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *extra]
        await send(message)

    return adding
