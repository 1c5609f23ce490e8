"""The models of one server, each an engine in the background."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field

from glasshouse.infer import Delta, Engine
from glasshouse.infer.background import BackgroundEngine
from glasshouse.infer.reading import PromptScores, PromptVector
from glasshouse.serve.errors import APIError, unknown_name
from glasshouse.serve.generation import Job, Record, run_jobs
from glasshouse.serve.logprobs import ScoredToken
from glasshouse.serve.moderation import Moderation
from glasshouse.tokenizer import Tokenizer

LONG_TEXT = 20_000  # characters; encoding more takes milliseconds, which others would wait for


@dataclass(eq=False)
class Served:
    """One model under its name."""

    name: str
    background: BackgroundEngine
    moderation: Moderation | None = None
    created_at: int = field(default_factory=lambda: int(time.time()))

    @property
    def engine(self) -> Engine:
        return self.background.engine

    @property
    def tokenizer(self) -> Tokenizer:
        return self.engine.tokenizer

    def answers(self, jobs: Sequence[Job], record: Record) -> AsyncGenerator[tuple[int, Delta], None]:
        """(number of the job, next token), as far as the moderator lets it be said."""
        events = run_jobs(self.background, jobs, record)
        return events if self.moderation is None else self.moderation.guarded(events, len(jobs))

    async def check_content(self, texts: Sequence[str], param: str) -> None:
        """Refuse what the moderator blocks."""
        if self.moderation is not None:
            await self.moderation.check(texts, param)

    async def encode(self, text: str) -> list[int]:
        """The ids of a plain text prompt."""
        if len(text) < LONG_TEXT:
            return self.engine.prompt_ids(text)
        return await asyncio.to_thread(self.engine.prompt_ids, text)

    def check_prompt(self, ids: Sequence[int], param: str) -> None:
        """The faults of a prompt, told as OpenAI tells them."""
        limit, vocab_size = self.engine.max_seq_len, self.tokenizer.vocab_size
        if len(ids) > limit:
            message = f"this prompt has {len(ids)} tokens; the model's context is {limit}. Shorten it."
            raise APIError(400, message, param=param, code="context_length_exceeded")
        if not ids or max(ids) >= vocab_size or min(ids) < 0:
            message = f"a prompt is one id or more, each from 0 to {vocab_size - 1} in this model's vocabulary"
            raise APIError(400, message, param=param, code="invalid_value")

    async def score(self, ids: Sequence[int], n_alternatives: int) -> list[ScoredToken]:
        """How likely each token of a prompt was, given those before it.  The first has nothing before it: None."""
        reading = await self.background.read(ids, PromptScores(self.tokenizer.vocab_size, n_alternatives))
        return [ScoredToken(ids[0], None), *(ScoredToken(id, *score) for id, score in zip(ids[1:], reading.scores))]

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        """A vector of length 1 for each."""
        return [(await self.background.read(ids, PromptVector())).vector().tolist() for ids in prompts]


class Models:
    """All models served, by name."""

    def __init__(self, engines: Mapping[str, BackgroundEngine], moderation: Moderation | None = None) -> None:
        self.by_name = {name: Served(name, background, moderation) for name, background in engines.items()}

    def find(self, name: str) -> Served:
        if name not in self.by_name:
            raise APIError(404, unknown_name("model", name, list(self.by_name)), param="model", code="model_not_found")
        return self.by_name[name]
