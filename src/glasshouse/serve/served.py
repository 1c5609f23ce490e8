"""The models of one server, each an engine in the background.

Scoring a prompt and embedding texts are no generation: they are done in the engine's own thread, between its steps, in
pieces small enough that nobody's answer pauses for long; too many at a time are refused.
Shapes: T tokens of a prompt, C of them at a time, D model, V vocab.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch

from glasshouse.infer import Engine
from glasshouse.infer.background import BackgroundEngine, QueueFull
from glasshouse.model import KVCache
from glasshouse.serve.errors import APIError, unknown_name
from glasshouse.serve.logprobs import ScoredToken
from glasshouse.tokenizer import Tokenizer

N_POSITIONS = 256  # C: with a vocabulary of 49,152 their logits are 50 MB
LONG_TEXT = 20_000  # characters; encoding more takes milliseconds, which others would wait for


@dataclass(eq=False)
class Served:
    """One model under its name."""

    name: str
    background: BackgroundEngine
    created_at: int = field(default_factory=lambda: int(time.time()))
    _n_aside: int = 0

    @property
    def engine(self) -> Engine:
        return self.background.engine

    @property
    def tokenizer(self) -> Tokenizer:
        return self.engine.tokenizer

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
        with self._aside():
            scored, cache = [ScoredToken(ids[0], None)], self.engine.model.new_cache(1, len(ids))
            for start in range(0, len(ids) - 1, N_POSITIONS):
                piece = ids[start : start + N_POSITIONS + 1]  # the last one is only asked about
                scored += await self.background.call(partial(score, piece, cache, n_alternatives))
            return scored

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        """A vector of length 1 for each."""
        with self._aside():
            return [await self.background.call(partial(embed, ids)) for ids in prompts]

    @contextmanager
    def _aside(self) -> Iterator[None]:
        if self._n_aside >= self.background.max_waiting:
            raise QueueFull(f"{self._n_aside} requests to score or embed are waiting already; try again later")
        self._n_aside += 1
        try:
            yield
        finally:
            self._n_aside -= 1


class Models:
    """All models served, by name."""

    def __init__(self, engines: Mapping[str, BackgroundEngine]) -> None:
        self.by_name = {name: Served(name, background) for name, background in engines.items()}

    def find(self, name: str) -> Served:
        if name not in self.by_name:
            raise APIError(404, unknown_name("model", name, list(self.by_name)), param="model", code="model_not_found")
        return self.by_name[name]


@torch.no_grad()
def score(ids: Sequence[int], cache: KVCache, n_alternatives: int, engine: Engine) -> list[ScoredToken]:
    """The tokens after the first, each given those before it; `cache` holds what came before all of them."""
    model, n_ids = engine.model, engine.tokenizer.vocab_size
    ids_C = torch.tensor(list(ids), device=model.device)
    hidden_CD = model.hidden(ids_C[None, :-1], cache=cache)[0]
    logp_CV = (hidden_CD @ model.head_weight_VD[:n_ids].T).float().log_softmax(dim=1)
    logp_C = logp_CV.gather(1, ids_C[1:, None]).squeeze(1)
    top = logp_CV.topk(min(n_alternatives, n_ids), dim=1)
    rows = zip(ids_C[1:].tolist(), logp_C.tolist(), top.indices.tolist(), top.values.tolist())
    return [ScoredToken(id, logp, tuple(zip(top_ids, values))) for id, logp, top_ids, values in rows]


def embed(ids: Sequence[int], engine: Engine) -> list[float]:
    vector: list[float] = engine.embed([ids])[0].tolist()
    return vector
