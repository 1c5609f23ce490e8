"""POST /v1/completions: text (or ids) continued, and scored where `echo` and `logprobs` ask for it.

`echo` with `logprobs` is how evaluation harnesses read the likelihood of a given text: the answer then begins with the
prompt, each of its tokens with the log-probability it had in its place.
"""

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from glasshouse.infer import Delta
from glasshouse.serve.answers import TextAnswer, documented
from glasshouse.serve.chat import compiled, grammar_of, usage
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.errors import JSON, APIError
from glasshouse.serve.generation import Job, Record, check_number, choices, sampling_of
from glasshouse.serve.http import APIRouter, Request, Response
from glasshouse.serve.logprobs import ScoredToken, TextLogprobs
from glasshouse.serve.requests import CompletionRequest
from glasshouse.serve.served import Models, Served
from glasshouse.serve.streaming import EventStream, while_connected

OPENAI_MAX_TOKENS = 16  # where a client says nothing


def completion_routes(models: Models, config: ServeConfig) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/completions", responses=documented(TextAnswer, streams=True), tags=["generation"])
    async def create_completion(body: CompletionRequest, request: Request) -> Response:
        """The continuation of one prompt or several."""
        served, record = models.find(body.model), request.state.record
        n_prompts = len(body.prompt) if isinstance(body.prompt, list) and not isinstance(body.prompt[0], int) else 1
        check_number(n_prompts * (body.n or 1), config.max_choices)
        answer = await _prepare(served, body, record)
        if config.logs_prompts:
            record.texts["prompt"] = body.prompt
        if body.stream:
            return EventStream(answer.stream(), config.write_timeout_s)
        return JSON(await while_connected(request, answer.whole()))

    return router


async def prompts_of(served: Served, given: Any, param: str) -> list[list[int]]:
    """A text, ids, or a list of either, as ids."""
    items = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    prompts = [await served.encode(item) if isinstance(item, str) else item for item in items]
    for ids in prompts:
        served.check_prompt(ids, param)
    return prompts


async def _prepare(served: Served, body: CompletionRequest, record: Record) -> "TextAnswering":
    record.model = served.name
    n = body.n or 1
    if body.best_of is not None and body.best_of != n:
        raise APIError(400, f'"best_of" other than "n" is not offered (given: {body.best_of}); rank by logprobs',
                       param="best_of")  # fmt: skip
    prompts = await prompts_of(served, body.prompt, "prompt")
    record.n_prompt_tokens = sum(map(len, prompts))
    await served.check_content([served.tokenizer.decode(ids) for ids in prompts], "prompt")
    max_tokens = OPENAI_MAX_TOKENS if body.max_tokens is None else body.max_tokens
    sampling = sampling_of(body, max(max_tokens, 1), body.logprobs or 0)
    form = body.response_format
    grammar = await compiled("response_format", lambda: grammar_of(form, served.tokenizer)) if form else None
    jobs = [Job(ids, config, grammar) for ids in prompts for config in choices(sampling, n)]
    return TextAnswering(served, body, jobs, record, generates=max_tokens > 0)


@dataclass(slots=True)
class _Choice:
    logprobs: TextLogprobs
    text: str = ""
    finish_reason: str | None = None


class TextAnswering:
    """One request under way: `stream` or `whole`, once."""

    def __init__(
        self, served: Served, body: CompletionRequest, jobs: Sequence[Job], record: Record, *, generates: bool
    ) -> None:
        self._served, self._body, self._jobs, self._record, self._generates = served, body, jobs, record, generates
        self._scored: list[ScoredToken] = []
        self._choices = [_Choice(TextLogprobs(served.tokenizer, bool(body.logprobs))) for _ in jobs]
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}", "object": "text_completion",
            "created": int(time.time()), "model": served.name,
        }  # fmt: skip

    async def whole(self) -> dict[str, Any]:
        async for _ in self._events():
            pass
        answers = [self._answer(n, choice.text, choice.finish_reason) for n, choice in enumerate(self._choices)]
        return {**self._head, "choices": answers, "usage": usage(self._record)}

    async def stream(self) -> AsyncGenerator[dict[str, Any], None]:
        asks_usage = self._body.stream_options is not None and self._body.stream_options.include_usage
        async for number, text, finish_reason in self._events():
            chunk = {**self._head, "choices": [self._answer(number, text, finish_reason)]}
            yield {**chunk, "usage": None} if asks_usage else chunk
        if asks_usage:
            yield {**self._head, "choices": [], "usage": usage(self._record)}

    async def _events(self) -> AsyncGenerator[tuple[int, str, str | None], None]:
        """(choice, text that became certain, reason of the end): the prompt first where it is echoed."""
        if self._body.echo or not self._generates:
            for number in range(len(self._jobs)):
                text = await self._echo(number) if self._body.echo else ""
                yield number, text, self._end(number, None if self._generates else "length")
        if self._generates:
            async for number, delta in self._served.answers(self._jobs, self._record):
                text = self._take(number, delta)
                if text or delta.finish_reason or self._body.logprobs is not None:
                    yield number, text, self._end(number, delta.finish_reason)

    async def _echo(self, number: int) -> str:
        choice, ids = self._choices[number], self._jobs[number].ids
        tokenizer = self._served.tokenizer
        if self._body.logprobs is not None:
            if number % (self._body.n or 1) == 0:  # the n answers to one prompt come one after another
                self._scored = await self._served.score(ids, self._body.logprobs)
            for token in self._scored:
                choice.logprobs.add(token, len(choice.text))
                choice.text += tokenizer.token_bytes(token.id).decode("utf-8", "replace")
        choice.text = tokenizer.decode(ids)
        return choice.text

    def _take(self, number: int, delta: Delta) -> str:
        choice = self._choices[number]
        is_end = delta.finish_reason == "stop" and delta.id in self._served.engine.end_ids
        if self._body.logprobs is not None and not is_end:
            choice.logprobs.add(ScoredToken(delta.id, delta.logp, delta.alternatives), len(choice.text))
        choice.text += delta.text
        return delta.text

    def _end(self, number: int, reason: str | None) -> str | None:
        self._choices[number].finish_reason = reason
        return reason

    def _answer(self, number: int, text: str, finish_reason: str | None) -> dict[str, Any]:
        has_logprobs = self._body.logprobs is not None
        logprobs = self._choices[number].logprobs.take() if has_logprobs else None
        return {"index": number, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
