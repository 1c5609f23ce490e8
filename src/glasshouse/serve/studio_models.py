"""What the pages ask of a model beside the public API: who is there, what fits, and what could come next, by id.

`/v1` gives tokens as text, which does not lead back to ids (two tokens may show the same text, one may be part of a
letter).  The Complete page branches on exact ids, so it has its own stream: one JSON object a token, bytes included.
Log-probabilities are nats, the model's own, before temperature and the other settings.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from glasshouse.core.config import Config
from glasshouse.core.errors import GlasshouseError
from glasshouse.infer import BackgroundEngine, Delta, Engine, SamplingConfig
from glasshouse.infer.chat import MIN_ANSWER_SHARE
from glasshouse.model import count_parameters
from glasshouse.serve.errors import APIError, unknown_name
from glasshouse.serve.generation import Job, Record, run_jobs
from glasshouse.serve.http import APIRouter, Request, Response
from glasshouse.serve.logprobs import LEAST
from glasshouse.serve.requests import MAX_ALTERNATIVES
from glasshouse.serve.streaming import EventStream, while_connected
from glasshouse.serve.template import chat_prompt
from glasshouse.tokenizer import Tokenizer

Text = Annotated[str, Field(max_length=2_000_000)]
Ids = Annotated[tuple[int, ...], Field(max_length=1_000_000)]


class ChatMessage(Config):
    role: Literal["system", "user", "assistant"]
    content: Text


class FitRequest(Config):
    model: str
    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1, max_length=20_000)]
    max_tokens: Annotated[int, Field(ge=1)] = 512


class Fit(Config):
    n_dropped: int  # oldest turns to leave out of the prompt
    n_prompt_tokens: int
    max_seq_len: int


class NextTokenRequest(Config):
    """What stands so far is `text` (as typed) followed by `ids` (as chosen), after `question` where one was asked."""

    model: str
    question: Text | None = None
    text: Text = ""
    ids: Ids = ()
    k: Annotated[int, Field(ge=1, le=MAX_ALTERNATIVES)] = 12


class CompleteRequest(NextTokenRequest):
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=1)] = 32
    seed: int | None = None


def fit(engine: Engine, messages: Sequence[ChatMessage], max_tokens: int) -> Fit:
    """How many of the oldest turns have to be left out, so that a fair share of the context is free for the answer."""
    turns = [message.model_dump() for message in messages]
    n_system = int(turns[0]["role"] == "system")
    room = engine.max_seq_len - min(max_tokens, max(1, int(engine.max_seq_len * MIN_ANSWER_SHARE))) + 1
    for n_dropped in range((len(turns) - n_system - 1) // 2 + 1):
        n_tokens = len(chat_prompt(engine.tokenizer, [*turns[:n_system], *turns[n_system + 2 * n_dropped :]]))
        if n_tokens <= room:
            break
    if n_tokens > engine.max_seq_len:
        with_system = " with the system prompt" if n_system else ""
        message = f"this message takes {n_tokens} tokens{with_system}; the model's context is {engine.max_seq_len}."
        raise APIError(400, f"{message} Shorten it.", param="messages", code="context_length_exceeded")
    return Fit(n_dropped=n_dropped, n_prompt_tokens=n_tokens, max_seq_len=engine.max_seq_len)


def describe_token(tokenizer: Tokenizer, id: int, logp: float) -> dict[str, Any]:
    """A token for the page.  `name` is that of a special token, which has no text."""
    name = next((name for name, special in tokenizer.special_ids.items() if special == id), None)
    return {"id": id, "logp": max(logp, LEAST), "name": name, "bytes": [] if name else list(tokenizer.token_bytes(id))}


def describe_delta(tokenizer: Tokenizer, delta: Delta) -> dict[str, Any]:
    alternatives = [describe_token(tokenizer, id, logp) for id, logp in delta.alternatives]
    token = describe_token(tokenizer, delta.id, delta.logp)
    return {**token, "alternatives": alternatives, "finish_reason": delta.finish_reason}


def prompt_ids(engine: Engine, request: NextTokenRequest) -> list[int]:
    """At least one id, all known, within the context."""
    asked = None if request.question is None else {"role": "user", "content": request.question}
    begin = engine.tokenizer.begin_ids if asked is None else chat_prompt(engine.tokenizer, [asked])
    ids = [*begin, *engine.tokenizer.encode(request.text), *request.ids] or engine.prompt_ids("")
    vocab_size = engine.tokenizer.vocab_size
    if any(not 0 <= id < vocab_size for id in request.ids):
        raise APIError(400, f"an id is outside this model's vocabulary (0 to {vocab_size - 1})", param="ids")
    if len(ids) > engine.max_seq_len:
        message = f"this text has {len(ids)} tokens; the model's context is {engine.max_seq_len}. Shorten it."
        raise APIError(400, message, param="text", code="context_length_exceeded")
    return ids


async def next_tokens(background: BackgroundEngine, request: NextTokenRequest, record: Record) -> dict[str, Any]:
    """The k likeliest next tokens: one token is generated, and what else it could have been is what we want."""
    engine = background.engine
    ids = prompt_ids(engine, request)
    job = Job(ids, SamplingConfig.of(max_tokens=1, n_logprobs=request.k))
    async for _, delta in run_jobs(background, [job], record):
        tokens = [describe_token(engine.tokenizer, id, logp) for id, logp in delta.alternatives]
        return {"n_prompt_tokens": len(ids), "max_seq_len": engine.max_seq_len, "tokens": tokens}
    raise GlasshouseError("the engine ended before its first token")


async def continuation(
    background: BackgroundEngine, request: CompleteRequest, record: Record
) -> AsyncGenerator[dict[str, Any], None]:
    engine = background.engine
    sampling = SamplingConfig.of(
        temperature=request.temperature, max_tokens=request.max_tokens, seed=request.seed, n_logprobs=request.k
    )
    async for _, delta in run_jobs(background, [Job(prompt_ids(engine, request), sampling)], record):
        yield describe_delta(engine.tokenizer, delta)


def describe_model(name: str, engine: Engine) -> dict[str, Any]:
    return {
        "id": name,
        "max_seq_len": engine.max_seq_len,
        "n_parameters": count_parameters(engine.config).total,
        "can_chat": engine.tokenizer.template is not None or bool(engine.tokenizer.settings.get("chat_template")),
    }


Beginnings = Callable[[str], Mapping[str, Sequence[str]]]  # name of a model -> its "questions" and "beginnings"


def model_routes(engines: Mapping[str, BackgroundEngine], beginnings: Beginnings) -> APIRouter:
    router = APIRouter(prefix="/studio/api", include_in_schema=False)

    def find(name: str) -> BackgroundEngine:
        if name not in engines:
            raise APIError(404, unknown_name("model", name, list(engines)), param="model", code="model_not_found")
        return engines[name]

    @router.get("/models")
    def list_models() -> list[dict[str, Any]]:
        return [{**describe_model(name, held.engine), **beginnings(name)} for name, held in engines.items()]

    @router.post("/fit")
    def fit_messages(body: FitRequest) -> Fit:
        return fit(find(body.model).engine, body.messages, body.max_tokens)

    @router.post("/next-token")
    async def next_token(body: NextTokenRequest, request: Request) -> dict[str, Any]:
        return await while_connected(request, next_tokens(find(body.model), body, request.state.record))

    @router.post("/complete")
    async def complete(body: CompleteRequest, request: Request) -> Response:
        events = continuation(find(body.model), body, request.state.record)
        return EventStream(events, request.app.state.config.write_timeout_s)

    return router
