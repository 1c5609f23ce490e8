"""A small server that speaks the Hub's protocol over repositories that lie in folders.

ROOT/owner/name/REVISION/files...  Every revision has a commit: 40 hex digits from its name.  Weights come as on the
real Hub, by a redirect to another address.  `requests` holds (method, path) of everything that was asked.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_letmein"


def commit_of(revision: str) -> str:
    return hashlib.sha1(revision.encode()).hexdigest()


class HubServer:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.gated: set[str] = set()  # repositories whose files ask for consent
        self.sizes: dict[str, int] = {}  # file -> the size that is claimed in place of the real one
        self.requests: list[tuple[str, str]] = []
        self.is_down = False
        outer = self

        class Handler(_Handler):
            hub = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator["HubServer"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def folder(self, repo: str, revision: str) -> Path | None:
        """The files of a revision, named by itself or by its commit."""
        folders = (self.root / repo).iterdir() if (self.root / repo).is_dir() else ()
        return next((f for f in folders if revision in (f.name, commit_of(f.name))), None)


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.hub.requests.append((self.command, self.path))
        if self.hub.is_down:
            return self._send(503, b"down for maintenance")
        path = unquote(self.path.partition("?")[0]).strip("/")
        if path.startswith("api/models/"):
            repo, _, revision = path.removeprefix("api/models/").partition("/revision/")
            return self._info(repo, revision or "main")
        if path.startswith("cdn/"):
            return self._send(200, (self.hub.root / path.removeprefix("cdn/")).read_bytes())
        repo, _, rest = path.partition("/resolve/")
        revision, _, file = rest.partition("/")
        return self._resolve(repo, revision, file)

    do_HEAD = do_GET

    def _info(self, repo: str, revision: str) -> None:
        if (folder := self._folder(repo, revision)) is None:
            return
        names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        files = [{"rfilename": n, "size": self.hub.sizes.get(n, (folder / n).stat().st_size)} for n in names]
        info = {"id": repo, "modelId": repo, "sha": commit_of(folder.name), "private": False, "gated": False,
                "tags": [], "downloads": 0, "likes": 0, "siblings": files}  # fmt: skip
        self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def _resolve(self, repo: str, revision: str, file: str) -> None:
        if (folder := self._folder(repo, revision)) is None:
            return
        if repo in self.hub.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "accept the terms"})
        path = folder / file
        if not path.is_file():
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        data = path.read_bytes()
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        headers = {"X-Repo-Commit": commit_of(folder.name), "ETag": etag, "Accept-Ranges": "bytes"}
        if file.endswith(".safetensors"):
            place = f"{self.hub.endpoint.replace('127.0.0.1', 'localhost')}/cdn/{path.relative_to(self.hub.root)}"
            linked = {"X-Linked-ETag": etag, "X-Linked-Size": str(len(data)), "Location": place}
            return self._send(302, b"", {**headers, **linked})
        return self._send(200, data, headers)

    def _folder(self, repo: str, revision: str) -> Path | None:
        if not (self.hub.root / repo).is_dir():  # as the Hub answers: it does not tell private from absent
            self._send(401, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return None
        if (folder := self.hub.folder(repo, revision)) is None:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
        return folder

    def _send(self, status: int, data: bytes, headers: Any = ()) -> None:
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass
