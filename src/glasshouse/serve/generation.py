"""Choices of one request, side by side: what is asked of the engine, and what comes back, in one order of events.

A request with p prompts and n answers each is p * n choices; each is one sequence of the engine, which runs them
together with everybody else's.  Leaving the iterator early, for whatever reason, cancels all of them.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from glasshouse.core.seeds import derive_seed
from glasshouse.infer import Delta, SamplingConfig
from glasshouse.infer.background import BackgroundEngine
from glasshouse.infer.grammar import Grammar
from glasshouse.serve.errors import APIError
from glasshouse.serve.requests import Sampled

OPENAI_TEMPERATURE = 1.0  # what a client that says nothing expects
LEAST_TOP_P = 1e-9  # clients send top_p 0 and mean the likeliest token


@dataclass(frozen=True, slots=True)
class Job:
    """One choice: a prompt, how it is continued, and the form its text must have."""

    ids: Sequence[int]
    sampling: SamplingConfig
    grammar: Grammar | None = None


@dataclass(slots=True)
class Record:
    """What is measured of a request, for the log and for /metrics.  Times in seconds of `time.perf_counter`."""

    started_at: float = field(default_factory=time.perf_counter)
    model: str | None = None
    key_id: str | None = None
    error: str | None = None
    n_prompt_tokens: int = 0
    n_generated_tokens: int = 0
    first_token_at: float | None = None
    last_token_at: float | None = None
    texts: dict[str, object] = field(default_factory=dict)  # prompt and answer, where they are to be logged

    def count_token(self) -> None:
        self.last_token_at = time.perf_counter()
        self.first_token_at = self.first_token_at or self.last_token_at
        self.n_generated_tokens += 1

    @property
    def seconds_to_first_token(self) -> float | None:
        return None if self.first_token_at is None else self.first_token_at - self.started_at

    @property
    def seconds_per_token(self) -> float | None:
        """Between tokens, the first one not counted; None where there were not two."""
        if self.first_token_at is None or self.last_token_at is None or self.n_generated_tokens < 2:
            return None
        return (self.last_token_at - self.first_token_at) / (self.n_generated_tokens - 1)


def sampling_of(request: Sampled, max_tokens: int, n_logprobs: int) -> SamplingConfig:
    """The engine's settings for a request, with OpenAI's defaults."""
    given = {
        "top_k": request.top_k,
        "top_p": None if request.top_p is None else max(request.top_p, LEAST_TOP_P),
        "min_p": request.min_p,
        "repetition_penalty": request.repetition_penalty,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "logit_bias": {int(id): value for id, value in (request.logit_bias or {}).items()},
        "stop": (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ()),
        "stop_ids": request.stop_token_ids,
        "ignores_end": request.ignore_eos,
        "seed": request.seed,
    }
    return SamplingConfig.of(
        temperature=OPENAI_TEMPERATURE if request.temperature is None else request.temperature,
        max_tokens=max_tokens,
        n_logprobs=n_logprobs,
        **{name: value for name, value in given.items() if value is not None},
    )


def choices(sampling: SamplingConfig, n: int) -> list[SamplingConfig]:
    """Settings of n answers to one prompt: the first as asked, each other with a seed of its own."""
    if sampling.seed is None:
        return [sampling] * n
    others = [derive_seed(sampling.seed, "choice", index) for index in range(1, n)]
    return [sampling, *(sampling.model_copy(update={"seed": seed}) for seed in others)]


def check_number(n_choices: int, limit: int) -> None:
    if n_choices > limit:
        raise APIError(400, f"this request asks for {n_choices} answers (prompts times n); {limit} are allowed at once")


async def run_jobs(
    background: BackgroundEngine, jobs: Sequence[Job], record: Record
) -> AsyncGenerator[tuple[int, Delta], None]:
    """(number of the job, next token), whichever comes first."""
    streams = [background.stream(job.ids, job.sampling, job.grammar) for job in jobs]
    async with aclosing(_merged(streams)) as events:
        async for number, delta in events:
            record.count_token()
            yield number, delta


async def _merged(streams: Sequence[AsyncIterator[Delta]]) -> AsyncGenerator[tuple[int, Delta], None]:
    if len(streams) == 1:  # the common case, without a task and a queue between
        async with aclosing(streams[0]) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                yield 0, delta
        return
    events: asyncio.Queue[tuple[int, Delta | Exception | None]] = asyncio.Queue()
    tasks = [asyncio.create_task(_pump(number, stream, events)) for number, stream in enumerate(streams)]
    try:
        n_running = len(tasks)
        while n_running:
            number, event = await events.get()
            if event is None:
                n_running -= 1
            elif isinstance(event, Exception):
                raise event
            else:
                yield number, event
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(
    number: int, stream: AsyncIterator[Delta], events: "asyncio.Queue[tuple[int, Delta | Exception | None]]"
) -> None:
    try:
        async for delta in stream:
            events.put_nowait((number, delta))
        events.put_nowait((number, None))
    except Exception as error:
        events.put_nowait((number, error))
