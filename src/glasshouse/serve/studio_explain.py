"""What the Explain page asks: an answer token by token, and for each of them what is inside the model.

The answer comes from the engine like any other.  Looking inside needs torch and the checkpoint's own weights (an engine
with quantized ones answers from those), so it is done beside the engine: in one thread for all models, one question at
a time, bounded in tokens and in seconds, so that serving goes on.
Shares are nats, p probabilities, leads logits.  Left out: dictionaries and neurons, whose passages need the training
text (`glass explain`).
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from glasshouse.core.config import Config
from glasshouse.explain import Account, TunedLens, load_tuned_lens
from glasshouse.explain.account import Method
from glasshouse.infer import BackgroundEngine, Engine, SamplingConfig
from glasshouse.infer.background import QueueFull
from glasshouse.serve.errors import APIError, ClientGone, unknown_name
from glasshouse.serve.generation import Job, Record, run_jobs
from glasshouse.serve.http import APIRouter, Request, Response
from glasshouse.serve.streaming import EventStream, while_connected
from glasshouse.serve.studio_models import Ids, Text, describe_delta
from glasshouse.serve.template import chat_prompt

T = TypeVar("T")
MAX_TOKENS, MAX_PATCH_TOKENS = 512, 128  # that are looked into at once
MAX_SECONDS = 30.0
MAX_WAITING = 16
N_ALTERNATIVES = 8


class AnswerRequest(Config):
    model: str
    text: Text
    is_chat: bool = False  # the text is a question, in the model's chat form
    max_tokens: Annotated[int, Field(ge=1, le=256)] = 24


class PlaceRequest(Config):
    """What the model has read, `ids`, and the token asked about, by default the likeliest next one."""

    model: str
    ids: Ids
    target: int | None = None


class LensRequest(PlaceRequest):
    is_tuned: bool = False


class AttentionRequest(PlaceRequest):
    layer: Annotated[int, Field(ge=0)]
    head: Annotated[int, Field(ge=0)]


class AttributionRequest(PlaceRequest):
    method: Method = "integrated"


class PatchRequest(PlaceRequest):
    """`other_ids` are the tokens of the other prompt; `other` the token that is compared with.  One place a question:
    each takes as long as the others."""

    other_ids: Ids
    other: int | None = None
    site: Literal["resid_pre", "attn_out", "mlp_out"] = "resid_pre"


class EncodeRequest(Config):
    model: str
    text: Text
    is_chat: bool = False


class Insides:
    """Looks into the models of some engines, in a thread of its own."""

    def __init__(self, engines: Mapping[str, BackgroundEngine]) -> None:
        self._engines = engines
        self._thread = ThreadPoolExecutor(1, "explain")
        self._accounts: dict[str, Account] = {}  # both touched by that thread only
        self._lenses: dict[tuple[str, int], TunedLens] = {}
        self._n_waiting = 0

    def find(self, name: str) -> BackgroundEngine:
        if name not in self._engines:
            raise APIError(404, unknown_name("model", name, list(self._engines)), param="model", code="model_not_found")
        return self._engines[name]

    async def look(self, request: Request, name: str, question: Callable[[Account, Callable[..., None]], T]) -> T:
        """`question(account, on_pass)` in the thread; long work calls `on_pass`, which ends what nobody waits for."""
        engine = self.find(name).engine
        if self._n_waiting >= MAX_WAITING:
            raise QueueFull(f"{self._n_waiting} questions are waiting already; try again later")
        is_over = threading.Event()

        def work() -> T:
            started = time.monotonic()

            def on_pass(*_: int) -> None:
                if is_over.is_set():
                    raise ClientGone
                if time.monotonic() - started > MAX_SECONDS:
                    raise APIError(
                        400, f"this takes longer than {MAX_SECONDS:g} s; shorten the prompt", code="too_long"
                    )

            on_pass()
            return question(self._account(name, engine), on_pass)

        self._n_waiting += 1
        try:
            future = asyncio.get_running_loop().run_in_executor(self._thread, work)
            return await while_connected(request, _result(future))
        finally:
            self._n_waiting -= 1
            is_over.set()

    def tuned(self, name: str) -> TunedLens | None:
        """The lens that was trained for this checkpoint, if there is one.  Read again when it was trained again."""
        engine = self.find(name).engine
        folder = None if engine.loaded is None else engine.loaded.location.folder
        path = None if folder is None else folder / "explain" / "lens.json"
        if folder is None or path is None or not path.is_file():
            return None
        key = (name, path.stat().st_mtime_ns)
        if key not in self._lenses:
            self._lenses[key] = load_tuned_lens(folder, self._account(name, engine).model)
        return self._lenses[key]

    def _account(self, name: str, engine: Engine) -> Account:
        if name not in self._accounts:
            self._accounts[name] = Account(engine.model, engine.tokenizer)
        return self._accounts[name]


async def _result(future: "asyncio.Future[T]") -> T:
    return await future


def explain_routes(engines: Mapping[str, BackgroundEngine]) -> APIRouter:
    router, insides = APIRouter(prefix="/studio/api/explain", include_in_schema=False), Insides(engines)

    @router.post("/answer")
    async def answer(body: AnswerRequest, request: Request) -> Response:
        background = insides.find(body.model)
        ids = checked(background.engine, prompt_ids(background.engine, body.text, body.is_chat), MAX_TOKENS)
        events = answered(background, ids, body.max_tokens, request.state.record)
        return EventStream(events, request.app.state.config.write_timeout_s)

    @router.post("/encode")
    async def encode(body: EncodeRequest) -> dict[str, Any]:
        engine = insides.find(body.model).engine
        return {"tokens": described(engine, prompt_ids(engine, body.text, body.is_chat))}

    @router.post("/lens")
    async def lens(body: LensRequest, request: Request) -> dict[str, Any]:
        ids = checked(insides.find(body.model).engine, body.ids, MAX_TOKENS)

        def question(account: Account, _: Callable[..., None]) -> dict[str, Any]:
            tuned = insides.tuned(body.model)
            found = account.lens(ids, body.target, tuned if body.is_tuned else None, N_ALTERNATIVES)
            return {**found, "has_tuned": tuned is not None}

        return await insides.look(request, body.model, question)

    @router.post("/heads")
    async def heads(body: PlaceRequest, request: Request) -> dict[str, Any]:
        ids = checked(insides.find(body.model).engine, body.ids, MAX_TOKENS)
        return await insides.look(request, body.model, lambda account, _: {**account.heads(), **account.looks(ids)})

    @router.post("/attention")
    async def attention(body: AttentionRequest, request: Request) -> dict[str, Any]:
        ids = checked(insides.find(body.model).engine, body.ids, MAX_TOKENS)
        return await insides.look(request, body.model, lambda account, _: account.attention(ids, body.layer, body.head))

    @router.post("/attribution")
    async def attribution(body: AttributionRequest, request: Request) -> dict[str, Any]:
        ids = checked(insides.find(body.model).engine, body.ids, MAX_TOKENS)
        return await insides.look(
            request, body.model, lambda account, on_pass: account.attribution(ids, body.target, body.method, on_pass)
        )

    @router.post("/parts")
    async def parts(body: PlaceRequest, request: Request) -> dict[str, Any]:
        ids = checked(insides.find(body.model).engine, body.ids, MAX_TOKENS)
        return await insides.look(request, body.model, lambda account, _: account.parts(ids, body.target))

    @router.post("/patch")
    async def patch(body: PatchRequest, request: Request) -> dict[str, Any]:
        engine = insides.find(body.model).engine
        ids, other_ids = (checked(engine, given, MAX_PATCH_TOKENS) for given in (body.ids, body.other_ids))
        return await insides.look(
            request, body.model,
            lambda account, on_pass: account.patching(
                ids, other_ids, body.target, body.other, (body.site,), on_pass=on_pass
            ),
        )  # fmt: skip

    return router


async def answered(
    background: BackgroundEngine, ids: list[int], max_tokens: int, record: Record
) -> AsyncGenerator[dict[str, Any], None]:
    """First the prompt's tokens, then those of the likeliest answer, each with what else it could have been."""
    engine = background.engine
    yield {"prompt": described(engine, ids)}
    sampling = SamplingConfig.of(temperature=0.0, max_tokens=max_tokens, n_logprobs=N_ALTERNATIVES)
    async for _, delta in run_jobs(background, [Job(ids, sampling)], record):
        yield describe_delta(engine.tokenizer, delta)


def prompt_ids(engine: Engine, text: str, is_chat: bool) -> list[int]:
    return chat_prompt(engine.tokenizer, [{"role": "user", "content": text}]) if is_chat else engine.prompt_ids(text)


def described(engine: Engine, ids: list[int]) -> list[dict[str, Any]]:
    names = {id: name for name, id in engine.tokenizer.special_ids.items()}
    return [
        {"id": id, "name": names.get(id), "bytes": [] if id in names else list(engine.tokenizer.token_bytes(id))}
        for id in ids
    ]


def checked(engine: Engine, ids: Ids | list[int], limit: int) -> list[int]:
    """At least one id, all known, no more than are looked into at once."""
    vocab_size, limit = engine.tokenizer.vocab_size, min(limit, engine.max_seq_len)
    if not ids or not all(0 <= id < vocab_size for id in ids):
        message = f"a prompt is one id or more, each from 0 to {vocab_size - 1} in this model's vocabulary"
        raise APIError(400, message, param="ids", code="invalid_value")
    if len(ids) > limit:
        message = f"this text has {len(ids)} tokens; at most {limit} are looked into at once. Shorten it."
        raise APIError(400, message, param="ids", code="context_length_exceeded")
    return list(ids)
