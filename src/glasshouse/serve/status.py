"""What is served and how it fares: /v1/models, /health, /ready, /metrics."""

from typing import Any

from glasshouse.infer.loading import Loaded
from glasshouse.serve.answers import Health, ModelCard, ModelList, documented
from glasshouse.serve.errors import JSON, APIError
from glasshouse.serve.http import APIRouter, Request, Response
from glasshouse.serve.metrics import CONTENT_TYPE, Metrics
from glasshouse.serve.served import Models, Served


def status_routes(models: Models, metrics: Metrics) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/models", responses=documented(ModelList), tags=["models"])
    async def list_models() -> Response:
        """The models that can be asked for."""
        return JSON({"object": "list", "data": [_card(served) for served in models.by_name.values()]})

    @router.get("/v1/models/{model:path}", responses=documented(ModelCard), tags=["models"])
    async def retrieve_model(model: str) -> Response:
        """One model, by name."""
        return JSON(_card(models.find(model)))

    @router.get("/health", responses=documented(Health), tags=["status"])
    async def health() -> Response:
        """Whether the process answers."""
        return JSON({"status": "ok"})

    @router.get("/ready", responses=documented(Health), tags=["status"])
    async def ready(request: Request) -> Response:
        """Whether new requests should be sent here: not before the models are up, nor while the server drains."""
        if not request.app.state.is_ready:
            raise APIError(503, "the server is starting or stopping", code="not_ready", headers={"Retry-After": "1"})
        return JSON({"status": "ready"})

    @router.get(
        "/metrics",
        responses=documented(Health) | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        tags=["status"],
    )
    async def measurements() -> Response:
        """Counters and histograms in the text form of Prometheus."""
        return Response(metrics.render(models), media_type=CONTENT_TYPE)

    return router


def _card(served: Served) -> dict[str, Any]:
    return {
        "id": served.name,
        "object": "model",
        "created": served.created_at,
        "owned_by": "glasshouse",
        "max_model_len": served.engine.max_seq_len,
        "metadata": _provenance(served.engine.loaded),
    }


def _provenance(loaded: Loaded | None) -> dict[str, Any]:
    hub = loaded.location.hub if loaded is not None else None
    return {"weights": loaded.weights if loaded is not None else None, "hub": hub.to_json() if hub else None}
