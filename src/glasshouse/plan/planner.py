"""From a budget to shape, tokens, batch, steps and learning rates, and what that will cost and deliver.

What is planned is what will run: the step time comes from a few real steps of the planned model on this machine
(`Measured.step_seconds`), not from a table.  Units: seconds, bytes, joules; losses in bits per byte of held-out text.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from glasshouse.core.errors import ConfigError
from glasshouse.core.terminal import format_seconds
from glasshouse.meter import Cost, DeviceProfile, MeterConfig, predict_cost
from glasshouse.model import ModelConfig, count_parameters, flops_per_token
from glasshouse.model.memory import TrainingPath, training_bytes
from glasshouse.plan.budget import Budget, DialConfig
from glasshouse.plan.known_laws import SMALL
from glasshouse.plan.scaling import ScalingFit
from glasshouse.plan.shape import shape_for

TRAINING_SHARE = 0.5  # of the matmul peak, to choose a shape by; the step time itself is measured afterwards
PROCESS_BYTES = 260e6  # interpreter, torch and our code, before any model; measured where planning really happens


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of machine and text before anything is planned.

    step_seconds(model, stage): one optimizer step of "pretrain" or "sft", measured.
    overhead_seconds: stages that do not train (corpus, tokenizer, evals, report, start-up), by name.
    law: what predicts the loss, in bits per byte.  process_bytes: held before any model.  path: what computes a step.
    peak_so_far_bytes: the most the process has held before it plans; measuring a machine takes half a gigabyte.
    """

    profile: DeviceProfile
    corpus_bytes: float
    bytes_per_token: float
    step_seconds: Callable[[ModelConfig, str], float]
    overhead_seconds: Mapping[str, float]
    law: ScalingFit = SMALL
    process_bytes: float = PROCESS_BYTES
    path: TrainingPath = "torch"
    peak_so_far_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """What the recipe has settled: stages in order, batch of each training stage, and any values it fixes."""

    training_stages: tuple[str, ...]
    batch_tokens: Mapping[str, int]
    vocab_size: int
    max_seq_len: int
    model: ModelConfig | None = None
    microbatch_tokens: Mapping[str, int] = field(default_factory=dict)  # where smaller than the batch
    is_muon: bool = True  # the rule of the matrices: it works on copies of many at once
    recomputed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # layers, as `training_bytes` wants it
    steps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StagePlan:
    steps: int
    tokens: int
    seconds: float
    cost: Cost


@dataclass(frozen=True, slots=True)
class Plan:
    model: ModelConfig
    stages: Mapping[str, StagePlan]
    overhead_seconds: Mapping[str, float]
    memory_bytes: float
    bits_per_byte: float | None
    bits_per_byte_interval: tuple[float, float] | None
    law: ScalingFit
    cost: Cost
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return sum(s.seconds for s in self.stages.values()) + sum(self.overhead_seconds.values())

    def to_json(self) -> dict[str, Any]:
        stages = {name: {"seconds": s.seconds, "steps": s.steps, "tokens": s.tokens, "cost": s.cost.to_json()}
                  for name, s in self.stages.items()}  # fmt: skip
        return {
            "seconds": self.seconds,
            "memory_bytes": self.memory_bytes,
            "bits_per_byte": self.bits_per_byte,
            "joules": self.cost.joules,
            "usd": self.cost.usd,
            "co2_g": self.cost.co2_g,
            "flops": self.cost.flops,
            "parameters": count_parameters(self.model).total,
            "tokens": sum(s.tokens for s in self.stages.values()),
            "model": self.model.model_dump(),
            "stages": stages | {name: {"seconds": s} for name, s in self.overhead_seconds.items()},
            "notes": list(self.notes),
            "bits_per_byte_interval": self.bits_per_byte_interval,
            "law": {"origin": self.law.origin, **asdict(self.law.law)},
        }


def plan_for_budget(dial: DialConfig, work: Workload, measured: Measured, meter: MeterConfig) -> Plan:
    """The plan that spends the dial's budget; raises `ConfigError` where it buys nothing, saying what would do."""
    budget = Budget.of(dial)
    model = work.model or _shape(budget, dial, work, measured)
    steps = {stage: work.steps.get(stage) or _steps(budget, dial, work, measured, model, stage)
             for stage in work.training_stages}  # fmt: skip
    return predict(work, measured, meter, model, steps)


def predict(
    work: Workload, measured: Measured, meter: MeterConfig, model: ModelConfig, steps: Mapping[str, int]
) -> Plan:
    """What a settled recipe will take and give."""
    stages = {stage: _stage_plan(stage, steps[stage], work, measured, meter, model) for stage in work.training_stages}
    overhead_s = sum(measured.overhead_seconds.values())
    overhead = predict_cost(0, overhead_s, meter, n_cores=measured.profile.n_cores, utilisation=0.6)
    tokens = stages["pretrain"].tokens if "pretrain" in stages else 0
    n_parameters, law = count_parameters(model).total, measured.law
    return Plan(
        model=model,
        stages=stages,
        overhead_seconds=dict(measured.overhead_seconds),
        memory_bytes=max(
            [measured.peak_so_far_bytes, *(_memory(stage, work, measured, model) for stage in work.training_stages)]
        ),
        bits_per_byte=law.law.loss(n_parameters, tokens) if tokens else None,
        bits_per_byte_interval=law.interval(n_parameters, tokens) if tokens and law.draws else None,
        law=law,
        cost=sum((s.cost for s in stages.values()), overhead),
        notes=_notes(model, tokens, measured),
    )  # fmt: skip


def _memory(stage: str, work: Workload, measured: Measured, model: ModelConfig) -> float:
    batch = work.batch_tokens[stage]
    return measured.process_bytes + training_bytes(
        model, batch, min(batch, work.microbatch_tokens.get(stage, batch)), path=measured.path, is_muon=work.is_muon,
        **work.recomputed.get(stage, {}),
    )  # fmt: skip


def _training_seconds(budget: Budget, dial: DialConfig, measured: Measured) -> float:
    overhead_s = sum(measured.overhead_seconds.values())
    if budget.amount < 1.25 * overhead_s:
        raise ConfigError(
            f"{dial.time} is too short: reading the text, judging and reporting alone take about "
            f"{format_seconds(overhead_s)} here. Give at least --time {int(2 * overhead_s / 60) + 1}m"
        )
    return budget.amount - overhead_s


def _share(dial: DialConfig, work: Workload, stage: str) -> float:
    if len(work.training_stages) == 1:
        return 1.0
    return dial.pretrain_share if stage == "pretrain" else (1 - dial.pretrain_share) / (len(work.training_stages) - 1)


def _shape(budget: Budget, dial: DialConfig, work: Workload, measured: Measured) -> ModelConfig:
    if budget.kind == "params":
        return shape_for(budget.amount, work.vocab_size, work.max_seq_len)
    flops = budget.amount
    if budget.kind == "time":
        flops = _training_seconds(budget, dial, measured) * measured.profile.flops_per_s * TRAINING_SHARE
    return shape_for(dial.size_factor * measured.law.law.best_parameters(flops), work.vocab_size, work.max_seq_len)


def _steps(budget: Budget, dial: DialConfig, work: Workload, measured: Measured, model: ModelConfig, stage: str) -> int:
    share = _share(dial, work, stage)
    if budget.kind == "time":
        seconds = _training_seconds(budget, dial, measured) * share
        steps = seconds / measured.step_seconds(model, stage)
    else:
        flops = budget.amount if budget.kind == "flops" else _best_flops(model, measured.law)
        steps = flops * share / (flops_per_token(model, work.max_seq_len) * work.batch_tokens[stage])
    if steps < 10:
        raise ConfigError(
            f"the budget allows {steps:.1f} steps of {stage}, too few to learn anything. "
            "Give a larger budget or a smaller model (--params)"
        )
    return round(steps)


def _best_flops(model: ModelConfig, law: ScalingFit) -> float:
    n = count_parameters(model).total
    return 6 * n * law.law.best_tokens(n)


def _stage_plan(
    stage: str, steps: int, work: Workload, measured: Measured, meter: MeterConfig, model: ModelConfig
) -> StagePlan:
    tokens = steps * work.batch_tokens[stage]
    seconds = steps * measured.step_seconds(model, stage)
    flops = tokens * flops_per_token(model, work.max_seq_len)
    device = measured.profile.device
    cost = predict_cost(flops, seconds, meter, n_cores=measured.profile.n_cores, device=device)
    return StagePlan(steps, tokens, seconds, cost)


def _notes(model: ModelConfig, tokens: int, measured: Measured) -> tuple[str, ...]:
    """Warnings a person should read before paying."""
    corpus_tokens = measured.corpus_bytes / measured.bytes_per_token
    if tokens > 8 * corpus_tokens > 0:
        epochs = tokens / corpus_tokens
        return (f"the text is read {epochs:.0f} times over: more text, or a smaller budget, would be better spent",)
    return ()
