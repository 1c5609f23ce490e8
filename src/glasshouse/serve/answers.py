"""What clients get, as types for the OpenAPI document.  The answers themselves are plain dicts: one token, one dict."""

from typing import Any, Literal

from pydantic import BaseModel


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    error: ErrorDetail


class Alternative(BaseModel):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(Alternative):
    top_logprobs: list[Alternative]


class ChatLogprobs(BaseModel):
    content: list[TokenLogprob]
    refusal: None = None


class CalledFunctionAnswer(BaseModel):
    name: str
    arguments: str


class ToolCallAnswer(BaseModel):
    id: str
    type: Literal["function"]
    function: CalledFunctionAnswer


class ChatMessageAnswer(BaseModel):
    role: Literal["assistant"]
    content: str | None
    refusal: None = None
    tool_calls: list[ToolCallAnswer] | None = None


class ChatChoice(BaseModel):
    index: int
    message: ChatMessageAnswer
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]


class ChatAnswer(BaseModel):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class TextLogprobs(BaseModel):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class TextChoice(BaseModel):
    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: Literal["stop", "length", "content_filter"]


class TextAnswer(BaseModel):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage


class Embedding(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingAnswer(BaseModel):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class HubSource(BaseModel):
    """`commit` is what `revision` meant when the model was fetched."""

    repo: str
    revision: str
    commit: str
    is_from_cache: bool


class ModelMetadata(BaseModel):
    """How a model is held and where it came from; `hub` null for a folder of this machine."""

    weights: Literal["fp32", "bf16", "int8", "int4"] | None
    hub: HubSource | None


class ModelCard(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int
    metadata: ModelMetadata


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[ModelCard]


class Health(BaseModel):
    status: str


_DESCRIPTIONS = {
    400: "the request is wrong; the message says what is allowed",
    401: "no valid API key",
    403: "a foreign origin or host",
    404: "no such model or path",
    405: "no such method here",
    408: "the body did not arrive in time",
    413: "the body is too large",
    429: "too many requests, or the queue is full; see Retry-After",
    500: "an error of the server's own",
    503: "not ready",
}
Responses = dict[int | str, dict[str, Any]]


def documented(answer: type[BaseModel], *, streams: bool = False) -> Responses:
    """`responses=` of a route: its answer and every error it can give."""
    content = {"text/event-stream": {"schema": {"type": "string"}}} if streams else {}
    good: dict[str, Any] = {"model": answer, "content": content} if streams else {"model": answer}
    bad: Responses = {status: {"model": ErrorAnswer, "description": text} for status, text in _DESCRIPTIONS.items()}
    return {200: good, **bad}
