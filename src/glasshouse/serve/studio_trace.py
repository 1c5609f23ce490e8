"""Where an answer comes from: its passages in the training text of the model's run, and what followed them there.

A model leads to a run by its name, as everywhere in the studio.  An opened index is kept until its files change.
"""

import math
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from glasshouse.core.config import Config
from glasshouse.core.errors import GlasshouseError
from glasshouse.core.rundir import RunDirectory
from glasshouse.infer import BackgroundEngine, SamplingConfig
from glasshouse.run.lineage import open_trace
from glasshouse.run.tracing import INDEX, RunTrace
from glasshouse.serve.errors import APIError, unknown_name
from glasshouse.serve.generation import Job, Record, run_jobs
from glasshouse.serve.http import APIRouter, Request
from glasshouse.serve.streaming import while_connected
from glasshouse.serve.studio_models import ChatMessage, Text
from glasshouse.serve.studio_runs import RunFolder
from glasshouse.serve.template import chat_prompt

N_NEXT = 8


class TraceRequest(Config):
    """`text` is the answer, `prompt` what was asked."""

    model: str
    text: Annotated[Text, Field(min_length=1)]
    prompt: Text = ""


class NextInTrainingRequest(Config):
    """`text` is the beginning of the answer to `messages`, up to where one looks."""

    model: str
    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1, max_length=20_000)]
    text: Text


class Traces:
    """Indexes of runs, each opened once."""

    def __init__(self, runs: RunFolder) -> None:
        self._runs = runs
        self._lock = threading.Lock()
        self._opened: dict[Path, tuple[int, RunTrace]] = {}

    def of(self, model: str) -> RunTrace:
        run = next((run for run in self._runs.all() if run.name == model), None)
        if run is None:
            raise APIError(404, f"{model} is no run of this studio, so its training text is not known here. Open the "
                                "run that made it: glass studio RUN")  # fmt: skip
        with self._lock:
            stamp = _stamp(run)
            if run.path not in self._opened or self._opened[run.path][0] != stamp:
                self._opened[run.path] = (stamp, open_trace(run))
            return self._opened[run.path][1]


def _stamp(run: RunDirectory) -> int:
    """When any index of the run was last made."""
    manifests = run.path.glob(f"pretrain/{INDEX}/index.json"), run.path.glob("*/examples/index.json")
    return max((path.stat().st_mtime_ns for found in manifests for path in found), default=0)


async def next_in_training(
    traces: Traces, background: BackgroundEngine, request: NextInTrainingRequest, record: Record
) -> dict[str, Any]:
    """Beside each other: what followed the answer's end in training, and what the model expects there."""
    tokenizer = background.engine.tokenizer
    ids = [*chat_prompt(tokenizer, [m.model_dump() for m in request.messages]), *tokenizer.encode(request.text)]
    if len(ids) > background.engine.max_seq_len:
        raise APIError(400, f"the conversation up to here has {len(ids)} tokens; the model's context is "
                            f"{background.engine.max_seq_len}.", code="context_length_exceeded")  # fmt: skip
    traced = traces.of(request.model)
    async for _, delta in run_jobs(background, [Job(ids, SamplingConfig.of(max_tokens=1, n_logprobs=N_NEXT))], record):
        p_model = {id: math.exp(logp) for id, logp in delta.alternatives}
        found, rows = traced.next_tokens(request.text, p_model, N_NEXT)
        return {"context": found.context, "count": found.count, "rows": [asdict(row) for row in rows]}
    raise GlasshouseError("the engine ended before its first token")


def trace_routes(engines: Mapping[str, BackgroundEngine], runs: RunFolder) -> APIRouter:
    router = APIRouter(prefix="/studio/api/trace", include_in_schema=False)
    traces = Traces(runs)

    @router.post("")
    def trace_answer(body: TraceRequest) -> dict[str, Any]:
        return traces.of(body.model).trace(body.text, body.prompt).to_json()

    @router.post("/next")
    async def follow(body: NextInTrainingRequest, request: Request) -> dict[str, Any]:
        if body.model not in engines:
            raise APIError(404, unknown_name("model", body.model, list(engines)), param="model", code="model_not_found")
        work = next_in_training(traces, engines[body.model], body, request.state.record)
        return await while_connected(request, work)

    return router
