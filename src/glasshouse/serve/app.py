"""The app: routes, guard and log around engines that run in the background.

From outside in: `RequestLog` measures, `Guard` refuses, the routes answer.  The studio adds its pages and its data by
`add_studio(app, ...)`; what it needs is in `app.state`: `models` (`Models`), `config`, `keys`, `metrics`, `is_ready`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from glasshouse import __version__
from glasshouse.infer.background import BackgroundEngine
from glasshouse.serve.chat import chat_routes
from glasshouse.serve.completions import completion_routes
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.embeddings import embedding_routes
from glasshouse.serve.errors import install_handlers
from glasshouse.serve.guard import Guard
from glasshouse.serve.http import FastAPI
from glasshouse.serve.keys import KeyStore
from glasshouse.serve.logs import RequestLog
from glasshouse.serve.metrics import Metrics
from glasshouse.serve.moderation import Moderation
from glasshouse.serve.served import Models
from glasshouse.serve.status import status_routes

DESCRIPTION = "The API of OpenAI, answered on this machine. Parameters it does not know are refused, never ignored."


def create_app(engines: Mapping[str, BackgroundEngine], config: ServeConfig) -> FastAPI:
    """The server's app.  Engines start with it and stop with it."""
    models = Models(engines, Moderation.load(config.moderation))
    metrics, keys = Metrics(), KeyStore(config.keys_folder)
    # Swagger's pages load scripts from elsewhere, so only the document itself is offered.
    app = FastAPI(
        title="Glasshouse", version=__version__, description=DESCRIPTION, lifespan=_lifespan,
        docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.models, app.state.config, app.state.keys, app.state.metrics = models, config, keys, metrics
    app.state.is_ready = False
    install_handlers(app)
    app.include_router(chat_routes(models, config))
    app.include_router(completion_routes(models, config))
    app.include_router(embedding_routes(models, config))
    app.include_router(status_routes(models, metrics))
    app.openapi = lambda: _document(app, FastAPI.openapi(app), list(models.by_name))  # type: ignore[method-assign]
    app.add_middleware(Guard, config=config, keys=keys)
    app.add_middleware(RequestLog, metrics=metrics)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    engines = [served.background for served in app.state.models.by_name.values()]
    for engine in engines:
        if not engine.is_running:
            engine.start()
    app.state.is_ready = True
    yield
    app.state.is_ready = False
    for engine in engines:  # whoever was to be waited for has been: what still runs here has nobody to read it
        await asyncio.to_thread(engine.stop, drains=False)


def _document(app: FastAPI, document: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The OpenAPI document, true to this app: bad bodies are 400 here, and the models are known by name."""
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    schemas = document["components"]["schemas"]
    for name in ("ChatRequest", "CompletionRequest", "EmbeddingRequest"):
        if name in schemas:
            schemas[name]["properties"]["model"]["enum"] = names
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document
