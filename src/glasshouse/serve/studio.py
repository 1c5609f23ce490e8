"""The studio: pages in plain ES modules, and what they ask of the server beside `/v1`.

Files are served from a table made at the start, by exact name: no path in a request is ever joined to a folder.
Scripts and styles come from these files alone, and nothing is put into a page as markup but through the sanitiser:
what a model says stays text.  Hosts, origins, keys and sizes are the guard's business (`guard.py`).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from glasshouse.core.errors import MissingExtraError
from glasshouse.infer import BackgroundEngine
from glasshouse.serve.errors import APIError
from glasshouse.serve.http import APIRouter, FastAPI, RedirectResponse, Response
from glasshouse.serve.studio_chats import ChatStore, chat_routes
from glasshouse.serve.studio_explain import explain_routes
from glasshouse.serve.studio_models import model_routes
from glasshouse.serve.studio_runs import RunFolder, beginnings, run_routes
from glasshouse.serve.studio_trace import trace_routes

WEB = Path(__file__).parent / "web"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def add_studio(
    app: FastAPI, engines: Mapping[str, BackgroundEngine], runs_root: Path, state_dir: Path,
    labels_place: str | Path | None = None,
) -> str | None:  # fmt: skip
    """Add the studio's pages and its API to an app of `create_app`.

    Conversations are kept in `state_dir`/chats, labels in `state_dir`/labels.db or at `labels_place`.  Returns what to
    install where labels cannot be kept; everything else works all the same.
    """
    runs = RunFolder(runs_root)
    app.include_router(page_routes())
    app.include_router(chat_routes(ChatStore(state_dir / "chats")))
    app.include_router(model_routes(engines, partial(beginnings, runs)))
    app.include_router(explain_routes(engines))
    app.include_router(run_routes(runs))
    app.include_router(trace_routes(engines, runs))
    try:
        from glasshouse.serve.studio_judgements import judgement_routes
        from glasshouse.serve.studio_labels import Labels, label_routes
    except MissingExtraError as error:
        app.include_router(no_label_routes(str(error)))
        return str(error)
    labels = Labels(labels_place or state_dir / "labels.db")
    app.include_router(label_routes(labels))
    app.include_router(judgement_routes(labels))
    return None


def no_label_routes(missing: str) -> APIRouter:
    """What the pages are told where the store of labels is not installed."""
    router = APIRouter(prefix="/studio/api/labels", include_in_schema=False)

    @router.get("/campaigns")
    def campaigns() -> dict[str, Any]:
        return {"missing": missing, "campaigns": []}

    @router.post("/chat")
    def judge_answer() -> None:
        raise APIError(501, missing, code="missing_extra")

    return router


def page_routes() -> APIRouter:
    router = APIRouter(include_in_schema=False)
    files = {path.relative_to(WEB).as_posix(): path for path in WEB.rglob("*") if path.suffix in TYPES}

    @router.get("/")
    @router.get("/studio")
    def root() -> Response:
        return RedirectResponse("/studio/")

    @router.get("/studio/")
    def index() -> Response:
        return web_file("index.html")

    @router.get("/studio/web/{name:path}")
    def web_file(name: str) -> Response:
        if name not in files:
            raise APIError(404, "there is no such file")
        return Response(files[name].read_bytes(), headers=HEADERS, media_type=TYPES[files[name].suffix])

    return router
