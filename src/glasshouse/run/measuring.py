"""What planning needs to know of this machine and this text: its speed, a few real steps, how much there is to read.

Rates of work that is not training are from this project's own measurements on 2 cores; training steps are timed here.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import torch

from glasshouse.batch import LMBatch
from glasshouse.core.environment import default_device
from glasshouse.corpus.sources import find_files
from glasshouse.evals.trust import PROBES
from glasshouse.meter import measure_device, peak_memory_bytes
from glasshouse.model import ModelConfig, TrainingPath, Transformer
from glasshouse.model.native import why_no_bf16, why_unavailable
from glasshouse.objective import lm_loss
from glasshouse.optim import build_optimizer
from glasshouse.plan import SMALL, Measured, read_fit
from glasshouse.run.recipe import FinetuneConfig, Recipe
from glasshouse.train import TrainConfig, add_gradient
from glasshouse.train.recomputing import recompute

STDLIB_BYTES = 14e6
BYTES_PER_TOKEN = 3.4  # of source text at 4,096 tokens
CORPUS_BYTES_PER_S = 1.5e6  # read, cleaned, deduplicated, masked
TOKENIZER_BYTES_PER_S = 3e6  # trained
START_S = 8.0  # imports, measuring the machine and a few steps
REPORT_S = 4.0
BITS_PER_BYTE_S = 4.0  # held-out text, per evaluation
N_QUESTIONS = 6000.0  # of the standard library, per evaluation
OWN_BYTES_PER_QUESTION = 1000.0  # 9.5 MB of headed text give 3,700; a novel of 0.4 MB gives 1,100
QUESTIONS_PER_S = 500.0
TRUST_S = {"short": 10.0, "whole": 60.0}  # all probes after one stage, of a model of a million parameters
ALIGNED_PER_S = 120.0  # questions answered, judged and learned from
CONVERSATION_TOKENS, TARGET_SHARE = 40, 0.45  # a typical conversation, and how much of it the assistant says
N_TIMED_STEPS = 3


def measure(recipe: Recipe) -> Measured:
    """Measure for `recipe`, whose undecided values do not matter here."""
    process_bytes = psutil.Process().memory_info().rss  # before any tensor; what the measurements free is used again
    profile = measure_device(default_device().type, is_fresh=True)
    n_bytes = sum(map(_source_bytes, recipe.corpus.sources))
    return Measured(
        profile=profile,
        corpus_bytes=n_bytes,
        bytes_per_token=BYTES_PER_TOKEN if recipe.tokenizer.kind == "bpe" else 1.0,
        step_seconds=StepTimer({stage: recipe.training(stage) for stage in recipe.training_stages}),
        overhead_seconds=_overhead_seconds(recipe, n_bytes),
        law=read_fit(Path(ladder)) if (ladder := recipe.dial and recipe.dial.ladder) else SMALL,
        process_bytes=process_bytes,
        path=_path(recipe),
        peak_so_far_bytes=peak_memory_bytes(),
    )


class StepTimer:
    """`StepTimer(configs)(model, stage)`: seconds of one optimizer step, measured once for each model and stage."""

    def __init__(self, configs: Mapping[str, TrainConfig]) -> None:
        self._configs = configs
        self._known: dict[tuple[str, str], float] = {}

    def __call__(self, model: ModelConfig, stage: str) -> float:
        key = (model.model_dump_json(), stage)
        if key not in self._known:
            self._known[key] = time_step(model, self._configs[stage])
        return self._known[key]


def time_step(shape: ModelConfig, config: TrainConfig) -> float:
    """The median of a few steps after a warm-up, on random tokens in the layout the stage will have."""
    model = Transformer(shape).to(default_device())
    model.init_weights(0)
    model.kernels = config.kernels
    if config.recompute:
        recompute(model, config.recompute, config.recompute_keeps)
    optimizer = build_optimizer(model, config.optim)
    optimizer.set_kernels(model.kernels)
    batch = _batch(shape.vocab_size, config).to(default_device())

    microbatch_tokens = None if config.microbatch_tokens == "auto" else config.microbatch_tokens

    def step() -> None:
        add_gradient(model, batch, lm_loss, microbatch_tokens=microbatch_tokens, precision=config.precision)
        torch.nn.utils.clip_grad_norm_(optimizer.parameters, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad()

    step()
    return sorted(_seconds(step) for _ in range(N_TIMED_STEPS))[N_TIMED_STEPS // 2]


def _batch(vocab_size: int, config: TrainConfig) -> LMBatch:
    is_conversation = isinstance(config, FinetuneConfig) and config.layout.packing == "bucketed"
    length = min(CONVERSATION_TOKENS, config.seq_len) if is_conversation else config.seq_len
    generator = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(vocab_size, (max(1, config.batch_tokens // length), length + 1), generator=generator)
    mask_BT = None
    if isinstance(config, FinetuneConfig):
        mask_BT = torch.rand((ids_BT.shape[0], length), generator=generator) < TARGET_SHARE
    return LMBatch(ids_BT[:, :-1], ids_BT[:, 1:], mask_BT, None, 0)


def _seconds(work: Callable[[], None]) -> float:
    started_at = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started_at


def _path(recipe: Recipe) -> TrainingPath:
    """What computes the steps of every training stage: the compiled decoder only where all of them may use it."""
    configs = [recipe.training(stage) for stage in recipe.training_stages]
    asked = all(c.kernels == "auto" and c.precision != "fp8" and not c.recompute for c in configs)
    is_bf16 = any(c.precision == "bf16" for c in configs)
    is_native = asked and default_device().type == "cpu" and (why_no_bf16() if is_bf16 else why_unavailable()) is None
    if not is_native:
        return "torch"
    return "native-bf16" if all(c.precision == "bf16" for c in configs) else "native"


def _source_bytes(source: str) -> float:
    if source.endswith(":"):
        return STDLIB_BYTES
    return sum(file.n_bytes for file in find_files(source, lambda problem: None))


def _overhead_seconds(recipe: Recipe, n_bytes: float) -> dict[str, float]:
    seconds = {"start": START_S, "report": REPORT_S}
    if "corpus" in recipe.stages:
        seconds["corpus"] = n_bytes / CORPUS_BYTES_PER_S
    if "tokenizer" in recipe.stages:
        seconds["tokenizer"] = 1 + min(n_bytes, recipe.tokenizer.max_train_bytes or n_bytes) / TOKENIZER_BYTES_PER_S
    conversations = recipe.sft.conversations if "sft" in recipe.stages and recipe.sft else ""
    asks = min(n_bytes / OWN_BYTES_PER_QUESTION, N_QUESTIONS) if conversations == "text:" else 0.0
    asks = N_QUESTIONS if conversations == "stdlib:" else asks
    if "align" in recipe.stages and recipe.align:
        seconds["align"] = recipe.align.n_questions / ALIGNED_PER_S
    for stage in recipe.stages:
        if stage.startswith("trust-"):
            seconds[stage] = TRUST_S[recipe.trust.size] * len(recipe.trust.probes) / len(PROBES)
        if stage.startswith("evals-"):
            seconds[stage] = BITS_PER_BYTE_S + asks / QUESTIONS_PER_S
    return seconds
