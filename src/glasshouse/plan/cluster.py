"""From a budget and a cluster to a model, its layout, and what it will take: hours, dollars, megawatt-hours, loss.

The layout is searched: every division of the devices into fsdp x tp x pp x dp that divides the model, every micro-batch
and kind of checkpointing that fits the memory; the fastest step wins.  Units: seconds, bytes, US dollars, MWh.
Left out: a price for storage and network; waiting for a cluster.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import Field

from glasshouse.core.config import Config
from glasshouse.core.errors import ConfigError
from glasshouse.core.terminal import format_bytes, format_count
from glasshouse.model import ModelConfig, count_parameters, flops_per_token
from glasshouse.plan.budget import parse_count, parse_duration
from glasshouse.plan.devices import DEVICES, Device
from glasshouse.plan.known_laws import CHINCHILLA
from glasshouse.plan.layout import (
    Checkpointing,
    Layout,
    RankMemory,
    StepTime,
    rank_memory,
    share_of_peak,
    step_time,
    tokens_per_s,
)
from glasshouse.plan.published import GOODPUT, PUE
from glasshouse.plan.scaling import ScalingFit
from glasshouse.plan.shape import shape_for

USABLE_MEMORY = 0.95  # the rest is lost to fragments
MAX_MICRO_BATCH = 64
CHECKPOINTING: tuple[Checkpointing, ...] = ("none", "selective", "full")
N_ROUNDS = 12  # size -> layout -> speed -> size, until they agree
FIRST_SHARE = 0.4  # of the peak, before any layout is known


class ClusterConfig(Config):
    """Exactly one of `time`, `usd`, `flops`, `params` unless a model is given, with its tokens or one of the others."""

    count: int = Field(default=1, ge=1)
    time: str | None = None  # of training: "30d"
    usd: float | None = Field(default=None, gt=0)
    flops: str | None = None
    params: str | None = None
    tokens: str | None = None  # with params, or with a model; else as many as the scaling law likes best
    seq_len: int = Field(default=4096, gt=0)
    vocab_size: int = Field(default=128_256, gt=0)
    batch_tokens: str | None = None  # of a step, over all ranks; None: by the model's size
    fp8: bool = False
    usd_per_hour: float | None = Field(default=None, ge=0)  # your own price of a device; None: the table's


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """`steps` of `layout.step_tokens`; `seconds` include what a long run loses beside its steps (GOODPUT)."""

    model: ModelConfig
    seq_len: int
    tokens: float
    steps: int
    device: Device
    layout: Layout
    memory: RankMemory
    step: StepTime
    seconds: float
    usd: float
    mwh: float
    loss: float
    loss_low: float
    loss_high: float
    law: ScalingFit

    @property
    def device_hours(self) -> float:
        return self.seconds / 3600 * self.layout.n_devices

    @property
    def share_of_peak(self) -> float:
        speed = tokens_per_s(self.model, self.seq_len, self.device, self.layout)
        return share_of_peak(self.model, self.seq_len, self.device, speed)

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model.model_dump(mode="json"), "parameters": count_parameters(self.model).total,
            "seq_len": self.seq_len, "tokens": self.tokens, "steps": self.steps, "device": asdict(self.device),
            "layout": asdict(self.layout), "memory_bytes": asdict(self.memory) | {"total": self.memory.total},
            "step_seconds": asdict(self.step) | {"total": self.step.total}, "seconds": self.seconds,
            "device_hours": self.device_hours, "usd": self.usd, "mwh": self.mwh, "share_of_peak": self.share_of_peak,
            "loss": self.loss, "loss_interval": [self.loss_low, self.loss_high], "loss_unit": self.law.unit,
            "law": {"origin": self.law.origin, **asdict(self.law.law)},
        }  # fmt: skip


def plan_for_cluster(
    config: ClusterConfig, device: Device, model: ModelConfig | None = None, law: ScalingFit = CHINCHILLA
) -> ClusterPlan:
    """The plan that spends the budget; `ConfigError` where there is none, or where nothing fits, saying what would."""
    _check_budget(config, model)
    if config.usd_per_hour is not None:
        device = replace(device, usd_per_hour=config.usd_per_hour)
    if model is None and config.params is not None:
        model = shape_for(parse_count(config.params), config.vocab_size, config.seq_len)
    if model is not None:
        layout = find_layout(model, config, device)
        tokens = _tokens(config, model, device, layout, law)
        return _finish(model, config, device, layout, tokens, law)
    model, layout = _balance(config, device, law)
    return _finish(model, config, device, layout, _tokens(config, model, device, layout, law), law)


def _check_budget(config: ClusterConfig, model: ModelConfig | None) -> None:
    given = [name for name in ("time", "usd", "flops", "params") if getattr(config, name) is not None]
    given += ["tokens"] if config.tokens is not None and (model is not None or given == ["params"]) else []
    wanted = ("a model takes at most one of time, usd, flops and tokens" if model is not None else
              "a cluster takes exactly one of time, usd, flops and params (and tokens with params)")  # fmt: skip
    allowed = ([], ["time"], ["usd"], ["flops"], ["tokens"]) if model is not None else (
        ["time"], ["usd"], ["flops"], ["params"], ["params", "tokens"])  # fmt: skip
    is_stray = config.tokens is not None and "tokens" not in given
    if given not in allowed or is_stray:
        names = [*given, *(["tokens"] if is_stray else [])]
        raise ConfigError(f"{wanted}; given: {', '.join(names) or 'none'}. For example --time 30d")


def _seconds_allowed(config: ClusterConfig, device: Device) -> float | None:
    if config.time is not None:
        return parse_duration(config.time)
    if config.usd is not None:
        if device.usd_per_hour <= 0:
            raise ConfigError("money buys nothing sensible on a device without a price: give --usd-per-hour, or --time")
        return 3600 * config.usd / (device.usd_per_hour * config.count)
    return None


def _balance(config: ClusterConfig, device: Device, law: ScalingFit) -> tuple[ModelConfig, Layout]:
    """The size that the law likes best for what the cluster really computes in the time, or for the FLOPs given."""
    seconds = _seconds_allowed(config, device)
    flops_per_s = FIRST_SHARE * device.bf16_flops_per_s * config.count
    for _ in range(N_ROUNDS):
        flops = parse_count(str(config.flops)) if seconds is None else seconds * GOODPUT * flops_per_s
        model = shape_for(law.law.best_parameters(flops), config.vocab_size, config.seq_len)
        layout = find_layout(model, config, device)
        speed = tokens_per_s(model, config.seq_len, device, layout) * layout.n_devices
        found = speed * flops_per_token(model, config.seq_len)
        if abs(found / flops_per_s - 1) < 0.01:
            break
        flops_per_s = (found * flops_per_s) ** 0.5  # halfway: the two sizes of a tie would alternate
    return model, layout


def _tokens(config: ClusterConfig, model: ModelConfig, device: Device, layout: Layout, law: ScalingFit) -> float:
    if config.tokens is not None:
        return parse_count(config.tokens)
    seconds = _seconds_allowed(config, device)
    if seconds is not None:
        return seconds * GOODPUT * tokens_per_s(model, config.seq_len, device, layout) * layout.n_devices
    if config.flops is not None:
        return parse_count(config.flops) / flops_per_token(model, config.seq_len)
    return law.law.best_tokens(count_parameters(model).total)


def _finish(
    model: ModelConfig, config: ClusterConfig, device: Device, layout: Layout, tokens: float, law: ScalingFit
) -> ClusterPlan:
    step = step_time(model, config.seq_len, device, layout)
    steps = round(tokens / layout.step_tokens(config.seq_len))
    if steps < 10:
        raise ConfigError(f"the budget allows {steps} steps of {format_count(layout.step_tokens(config.seq_len))} "
                          "tokens, too few to learn anything. Give more, or a smaller model (--params)")  # fmt: skip
    seconds = steps * step.total / GOODPUT
    n_parameters = count_parameters(model).total
    hours = seconds / 3600 * layout.n_devices
    return ClusterPlan(
        model, config.seq_len, steps * layout.step_tokens(config.seq_len), steps, device, layout,
        rank_memory(model, config.seq_len, layout), step, seconds, usd=hours * device.usd_per_hour,
        mwh=hours * device.watts * PUE / 1e6, loss=law.law.loss(n_parameters, tokens),
        loss_low=law.interval(n_parameters, tokens)[0], loss_high=law.interval(n_parameters, tokens)[1], law=law,
    )  # fmt: skip


# ---- the layout ------------------------------------------------------------------------------------------------------


def find_layout(model: ModelConfig, config: ClusterConfig, device: Device) -> Layout:
    """The fastest that fits; `ConfigError` says what would where none does."""
    sequences = max(1, round(_batch_tokens(config, model) / config.seq_len))
    fitting = [
        layout for layout in layouts(model, config.count, device.per_node, sequences, is_fp8=config.fp8)
        if rank_memory(model, config.seq_len, layout).total <= USABLE_MEMORY * device.memory_bytes
    ]  # fmt: skip
    if not fitting:
        raise _does_not_fit(model, config, device, sequences)
    return max(fitting, key=lambda layout: tokens_per_s(model, config.seq_len, device, layout))


def layouts(model: ModelConfig, count: int, per_node: int, sequences: int, *, is_fp8: bool) -> Iterator[Layout]:
    """Every division of `count` devices that divides the model, for steps of about `sequences`."""
    for tp in _powers(min(per_node, count)):
        if count % tp or any(n % tp for n in (model.n_heads, model.n_kv_heads, model.d_ff)):
            continue
        for pp in _powers(min(model.n_layers, count // tp)):
            if count % (tp * pp) or model.n_layers % pp:
                continue
            n_data = count // (tp * pp)
            if n_data > sequences:
                continue  # more ranks than data
            of_rank = sequences // n_data
            for fsdp in {n_data, *(n for n in _powers(n_data) if n_data % n == 0)}:
                for micro_batch in (n for n in _powers(min(of_rank, MAX_MICRO_BATCH)) if of_rank % n == 0):
                    for checkpointing in CHECKPOINTING:
                        yield Layout(
                            fsdp=fsdp, tp=tp, pp=pp, dp=n_data // fsdp, micro_batch=micro_batch,
                            n_microbatches=of_rank // micro_batch, checkpointing=checkpointing, is_fp8=is_fp8,
                        )  # fmt: skip


def _powers(limit: int) -> Sequence[int]:
    return [1 << k for k in range(limit.bit_length()) if 1 << k <= limit]


def _batch_tokens(config: ClusterConfig, model: ModelConfig) -> float:
    """Half a million at 125 M parameters, growing with the cube root: 1 M at 1.3 G, 2 M at 7 G, 4 M at 70 G, near what
    was published for GPT-3 (arXiv:2005.14165 table 2.1) and Llama 2."""
    if config.batch_tokens is not None:
        return parse_count(config.batch_tokens)
    return float(2 ** round(19 + math.log2(count_parameters(model).total / 125e6) / 3))


def _does_not_fit(model: ModelConfig, config: ClusterConfig, device: Device, sequences: int) -> ConfigError:
    def least(count: int, of: Device) -> float:
        found = layouts(model, count, of.per_node, sequences, is_fp8=config.fp8)
        return min((rank_memory(model, config.seq_len, layout).total for layout in found), default=float("inf"))

    count, needed = config.count, least(config.count, device)
    what = f"{format_count(count_parameters(model).total)} parameters on {count} x {device.name}"
    if needed == float("inf"):
        return ConfigError(
            f"{what}: no division of {count} devices divides {model.n_heads} heads, {model.n_kv_heads} key-value heads "
            f"and {model.n_layers} layers with steps of {sequences} sequences. Choose a count that is a power of two, "
            "and at most the sequences of a step (--batch-tokens)"
        )
    remedies = []
    larger = (count << k for k in range(1, 14))
    enough = (n for n in larger if least(n, device) <= USABLE_MEMORY * device.memory_bytes)
    if (more := next(enough, None)) is not None:
        remedies.append(f"{more} x {device.name}")
    if other := [d.name for d in DEVICES.values() if least(count, d) <= USABLE_MEMORY * d.memory_bytes]:
        remedies.append(f"{count} x {' or '.join(other)}")
    remedies.append("fewer parameters (--params) or shorter sequences (--seq-len)")
    return ConfigError(
        f"{what} cannot fit: a rank needs {format_bytes(needed)} at the least (all checkpointed, one sequence at a "
        f"time), and has {format_bytes(USABLE_MEMORY * device.memory_bytes)}. What would fit: {'; '.join(remedies)}"
    )
