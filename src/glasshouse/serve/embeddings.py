"""POST /v1/embeddings: texts as vectors of length 1 (the mean of the last hidden states)."""

import base64
import struct
from collections.abc import Sequence

from glasshouse.serve.answers import EmbeddingAnswer, documented
from glasshouse.serve.completions import prompts_of
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.errors import JSON, APIError
from glasshouse.serve.generation import check_number
from glasshouse.serve.http import APIRouter, Request, Response
from glasshouse.serve.requests import EmbeddingRequest
from glasshouse.serve.served import Models
from glasshouse.serve.streaming import while_connected


def embedding_routes(models: Models, config: ServeConfig) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/embeddings", responses=documented(EmbeddingAnswer), tags=["embeddings"])
    async def create_embeddings(body: EmbeddingRequest, request: Request) -> Response:
        """One vector for each input."""
        served = models.find(body.model)
        request.state.record.model = served.name
        size = served.engine.config.d_model
        if body.dimensions not in (None, size):
            raise APIError(400, f"this model's embeddings have {size} dimensions (given: {body.dimensions})",
                           param="dimensions")  # fmt: skip
        prompts = await prompts_of(served, body.input, "input")
        check_number(len(prompts), config.max_choices)
        n_tokens = request.state.record.n_prompt_tokens = sum(map(len, prompts))
        vectors = await while_connected(request, served.embed(prompts))
        is_packed = body.encoding_format == "base64"
        data = [
            {"object": "embedding", "index": number, "embedding": packed(vector) if is_packed else vector}
            for number, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
        return JSON({"object": "list", "data": data, "model": served.name, "usage": usage})

    return router


def packed(vector: Sequence[float]) -> str:
    """Little-endian 32-bit floats in base64, which OpenAI's client asks for."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
