"""What others published about their runs, beside what the planner says of the same: the test of its constants.

Every row names its source; `is_fitted` rows are those that a constant was fitted on, all others are checks:
  devices.AMPERE_MATMUL         torchtitan's two rows of Llama 3 8B on 64 A100
  devices.HOPPER_500W_MATMUL    torchtitan's two bf16 rows of Llama 3.1 8B on 128 H100 of 500 W
  devices.FP8_GAIN              torchtitan's two fp8 rows of Llama 3.1 8B, on 8 and on 128
  devices.HOPPER_MATMUL         llm.c's GPT-2 1558M on 8 H100, and Llama 3 405B on 8,192
  GOODPUT                       the GPU-hours of the four LLaMA of 2023
`fit_constants` repeats that; a test compares.
A GPT-2 layer (two matrices of 4 D, a GELU) is written as a gated layer of the same size (three of 8/3 D).
Left out: context parallelism, mixtures of experts, TPUs (Chinchilla's hours are not published).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from glasshouse.model import PRESETS, ModelConfig, count_parameters, flops_per_token
from glasshouse.plan.devices import DEVICES, Device
from glasshouse.plan.known_laws import CHINCHILLA
from glasshouse.plan.layout import Layout, rank_memory, tokens_per_s
from glasshouse.plan.scaling import ScalingLaw

GOODPUT = 0.85  # of the hours of a long run at the speed of its steps; the rest is loading, saving, judging, failing
PUE = 1.1  # data centre's power over its devices': arXiv:2302.13971 section 6 counts with it
TEXT_BYTES_PER_TOKEN = 3.8  # arXiv:2302.13971 table 1: 4.75 TB read 1.18 times over give 1.4 T tokens
GIB = 2.0**30

TITAN = "torchtitan benchmarks/llama3_h100_202412"
TITAN_A100 = "torchtitan docs/performance.md, 2024-08"
LLAMA1, LLAMA2, LLAMA3 = "arXiv:2302.13971 table 15", "arXiv:2307.09288 table 2", "arXiv:2407.21783 table 4"
KARPATHY = "Karpathy, Intro to Large Language Models, 2023"


@dataclass(frozen=True, slots=True)
class Row:
    """One published figure.  `error` is relative to what was published."""

    run: str
    what: str
    published: float
    predicted: float
    source: str
    is_fitted: bool = False

    @property
    def error(self) -> float:
        return self.predicted / self.published - 1


@dataclass(frozen=True, slots=True)
class Speed:
    """A published speed: tokens/s of one device, as measured over steps, or over a whole run (`is_whole_run`)."""

    run: str
    model: ModelConfig
    seq_len: int
    device: str
    layout: Layout
    tokens_per_s: float
    source: str
    fits: str | None = None  # the constant that was fitted on this row, with others
    is_whole_run: bool = False
    memory_gib: float | None = None

    def predict(self, constants: "Constants | None" = None) -> float:
        device = DEVICES[self.device] if constants is None else constants.apply(DEVICES[self.device])
        goodput = GOODPUT if constants is None else constants.values["GOODPUT"]
        return tokens_per_s(self.model, self.seq_len, device, self.layout) * (goodput if self.is_whole_run else 1.0)


@dataclass(frozen=True, slots=True)
class Constants:
    """Values by name, to try others than those in use."""

    values: Mapping[str, float]

    def apply(self, device: Device) -> Device:
        family = ("AMPERE" if device.name.startswith("a100") else
                  "HOPPER_500W" if device.name.endswith("500w") else "HOPPER")  # fmt: skip
        gain = self.values["FP8_GAIN"] if device.fp8_gain > 1 else 1.0
        return replace(device, matmul_share=self.values[f"{family}_MATMUL"], fp8_gain=gain)


def gpt2(d_model: int, n_layers: int, n_heads: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=50257, d_model=d_model, n_layers=n_layers, n_heads=n_heads, n_kv_heads=n_heads,
        d_head=d_model // n_heads, d_ff=round(8 * d_model / 3), max_seq_len=1024, ties_embeddings=True,
        has_qk_norm=False,
    )  # fmt: skip


def llama1(d_model: int, n_layers: int, n_heads: int, d_ff: int) -> ModelConfig:
    own = {"d_model": d_model, "n_layers": n_layers, "n_heads": n_heads, "n_kv_heads": n_heads, "d_ff": d_ff}
    return PRESETS["llama-2-7b"].model_copy(update={**own, "max_seq_len": 2048})


L8B, L70B, L405B = (PRESETS[f"llama-3.1-{size}"] for size in ("8b", "70b", "405b"))
LLAMA2_34B = PRESETS["llama-2-70b"].model_copy(update={"n_layers": 48, "d_ff": 22016})  # Code Llama 34B's config.json
CHINCHILLA_70B = gpt2(8192, 80, 64).model_copy(update={"vocab_size": 32000})


def _titan(fsdp: int, *, is_compiled: bool, is_fp8: bool) -> Layout:
    return Layout(fsdp=fsdp, micro_batch=2, checkpointing="selective", is_compiled=is_compiled, is_fp8=is_fp8)


def _hours(tokens: float, hours: float) -> float:
    """Tokens/s of one device from the device-hours of a run."""
    return tokens / (3600 * hours)


def _llama3_speed(flops_per_s: float) -> float:
    """Tokens/s of one device, from the FLOP/s that the paper counts (6 N D and attention)."""
    return flops_per_s / flops_per_token(PRESETS["llama-3.1-405b"], 8192)


def _llama(tp: int, seq_len: int) -> Layout:
    """4 M tokens a step, as published.  tp: into how many files the weights were published.  Not published: how many
    devices; 256 groups of them, which for 65B are the 2,048 of its paper."""
    return Layout(fsdp=256, tp=tp, micro_batch=4 * 2**20 // seq_len // 256)


SPEEDS: tuple[Speed, ...] = (
    *(Speed(f"Llama 3.1 8B, {n} H100 500 W, {name}", L8B, 8192, "h100-96-500w",
            _titan(n, is_compiled=name != "eager", is_fp8=name == "compiled, fp8"), speed, TITAN,
            fits="FP8_GAIN" if "fp8" in name else "HOPPER_500W_MATMUL" if n == 128 else None, memory_gib=memory)
      for n, name, speed, memory in (
          (128, "eager", 5605, 67.0), (128, "compiled", 6514, 62.0), (128, "compiled, fp8", 8380, 61.8),
          (8, "eager", 5762, 82.4), (8, "compiled", 6667, 77.0), (8, "compiled, fp8", 8532, 76.8))),
    Speed("Llama 3.1 70B, 256 H100 500 W, TP 8, fp8", L70B, 8192, "h100-96-500w",
          Layout(fsdp=32, tp=8, micro_batch=16, checkpointing="full", is_fp8=True), 829, TITAN, memory_gib=71.9),
    Speed("Llama 3.1 405B, 512 H100 500 W, TP 8, PP 8, fp8", L405B, 8192, "h100-96-500w",
          Layout(fsdp=8, tp=8, pp=8, micro_batch=4, n_microbatches=8, checkpointing="full", is_fp8=True), 100, TITAN,
          memory_gib=82.5),
    Speed("the same, interleaved pipeline", L405B, 8192, "h100-96-500w",
          Layout(fsdp=8, tp=8, pp=8, micro_batch=4, n_microbatches=8, n_chunks=2, checkpointing="full", is_fp8=True),
          128, TITAN),
    Speed("Llama 3 8B, 64 A100, selective by layer", L8B, 8192, "a100-80",
          Layout(fsdp=64, checkpointing="selective", is_compiled=False), 2904, TITAN_A100, fits="AMPERE_MATMUL"),
    Speed("Llama 3 8B, 64 A100, selective by operation", L8B, 8192, "a100-80",
          Layout(fsdp=64, checkpointing="selective", is_compiled=False), 2973, TITAN_A100, fits="AMPERE_MATMUL"),
    Speed("Llama 3 70B, 64 A100, full", L70B, 8192, "a100-80",
          Layout(fsdp=64, checkpointing="full", is_compiled=False), 331, TITAN_A100),
    *(Speed(f"LLaMA {size}, A100", model, 2048, "a100-80", _llama(tp, 2048), _hours(tokens, hours), LLAMA1,
            fits="GOODPUT", is_whole_run=True)
      for size, model, tp, tokens, hours in (
          ("7B", llama1(4096, 32, 32, 11008), 1, 1e12, 82_432), ("13B", llama1(5120, 40, 40, 13824), 2, 1e12, 135_168),
          ("33B", llama1(6656, 60, 52, 17920), 4, 1.4e12, 530_432),
          ("65B", llama1(8192, 80, 64, 22016), 8, 1.4e12, 1_022_362))),
    *(Speed(f"Llama 2 {size}, A100", model, 4096, "a100-80", _llama(tp, 4096), _hours(2e12, hours), LLAMA2,
            is_whole_run=True)
      for size, model, tp, hours in (
          ("7B", PRESETS["llama-2-7b"], 1, 184_320), ("13B", PRESETS["llama-2-13b"], 2, 368_640),
          ("34B", LLAMA2_34B, 4, 1_038_336), ("70B", PRESETS["llama-2-70b"], 8, 1_720_320))),
    Speed("Llama 3 405B, 8,192 H100, TP 8, PP 16", L405B, 8192, "h100",
          Layout(fsdp=64, tp=8, pp=16, n_microbatches=32, n_chunks=4), _llama3_speed(430e12), LLAMA3,
          fits="HOPPER_MATMUL"),
    Speed("Llama 3 405B, 16,384 H100, TP 8, PP 16", L405B, 8192, "h100",
          Layout(fsdp=128, tp=8, pp=16, n_microbatches=16, n_chunks=4), _llama3_speed(400e12), LLAMA3),
    Speed("Llama 3.1 8B, 32 H200, fp8", L8B, 8192, "h200", _titan(32, is_compiled=True, is_fp8=True), 10938,
          "torchtitan benchmarks/llama3_8b_h200_2025-06"),
    Speed("Llama 3.1 8B, 64 H200, fp8", L8B, 8192, "h200", _titan(64, is_compiled=True, is_fp8=True), 10753,
          "torchtitan benchmarks/llama3_8b_h200_2025-06"),
    Speed("GPT-2 124M, 8 A100, 10 B tokens in 90 min", gpt2(768, 12, 12), 1024, "a100-80",
          Layout(dp=8, micro_batch=64), _hours(10e9, 1.5 * 8), "llm.c discussion 481"),
    Speed("GPT-2 124M, 1 A100, compiled", gpt2(768, 12, 12), 1024, "a100-80", Layout(micro_batch=32), 142_156,
          "LLMs-from-scratch ch05/10"),
    Speed("GPT-2 124M, 8 A100 40 GB, 295 B tokens in about 4 days", gpt2(768, 12, 12), 1024, "a100-40",
          Layout(dp=8, micro_batch=12, n_microbatches=5), _hours(295e9, 96 * 8), "nanoGPT README, 2023"),
    Speed("GPT-2 124M, 8 H100, 10 B tokens in 45 min", gpt2(768, 12, 12), 1024, "h100", Layout(dp=8, micro_batch=64),
          _hours(10e9, 0.75 * 8), "modded-nanogpt README"),
    Speed("GPT-2 1558M, 8 H100, 33.6 B tokens in 24 h", gpt2(1600, 48, 25), 1024, "h100",
          Layout(fsdp=8, micro_batch=16, n_microbatches=8), _hours(33.6e9, 24 * 8), "llm.c discussion 677",
          fits="HOPPER_MATMUL"),
)  # fmt: skip


def fit_constants() -> dict[str, float]:
    """The fitted constants again, from their rows: each where the mean log error of its rows is zero."""
    values = {"AMPERE_MATMUL": 0.5, "HOPPER_500W_MATMUL": 0.5, "FP8_GAIN": 1.5, "HOPPER_MATMUL": 0.5, "GOODPUT": 1.0}
    for name, (low, high) in {
        "AMPERE_MATMUL": (0.2, 1.0), "HOPPER_500W_MATMUL": (0.2, 1.0), "FP8_GAIN": (1.0, 2.0),
        "HOPPER_MATMUL": (0.2, 1.0), "GOODPUT": (0.3, 1.0),
    }.items():  # fmt: skip
        rows = [row for row in SPEEDS if row.fits == name]
        for _ in range(40):  # a bisection: speed rises with each constant
            values[name] = (low + high) / 2
            error = sum(math.log(row.predict(Constants(values)) / row.tokens_per_s) for row in rows)
            low, high = (low, values[name]) if error > 0 else (values[name], high)
    return values


def published_rows() -> list[Row]:
    """Every published figure beside the planner's own."""
    return [*map(_speed_row, SPEEDS), *_memory_rows(), *_llama2_rows(), *_llama1_rows(), *_chinchilla_rows()]


def _speed_row(speed: Speed) -> Row:
    return Row(
        speed.run, "tokens/s a device", speed.tokens_per_s, speed.predict(), speed.source, speed.fits is not None
    )


def _memory_rows() -> list[Row]:
    return [
        Row(s.run, "memory, GiB", s.memory_gib, rank_memory(s.model, s.seq_len, s.layout).total / GIB, s.source)
        for s in SPEEDS if s.memory_gib is not None
    ]  # fmt: skip


def _llama2_rows() -> list[Row]:
    run = next(s for s in SPEEDS if s.run == "Llama 2 70B, A100")
    hours = 2e12 / run.predict() / 3600
    weights = count_parameters(run.model).total
    name = "Llama 2 70B, 2 T tokens"
    return [
        Row(name, "A100-hours", 1_720_320, hours, LLAMA2),
        Row(name, "days on 6,000", 12, hours / 6000 / 24, KARPATHY),
        Row(name, "USD, at the table's price", 2e6, hours * DEVICES["a100-80"].usd_per_hour, KARPATHY),
        Row(name, "bytes of bf16 weights", 140e9, 2.0 * weights, KARPATHY),
        Row(name, "bytes of text", 10e12, 2e12 * TEXT_BYTES_PER_TOKEN, KARPATHY),
    ]


def _llama1_rows() -> list[Row]:
    run = next(s for s in SPEEDS if s.run == "LLaMA 65B, A100")
    hours = 1.4e12 / run.predict() / 3600
    return [
        Row("LLaMA 65B, 1.4 T tokens", "MWh", 449, hours * DEVICES["a100-80"].watts * PUE / 1e6, LLAMA1, True),
        Row("LLaMA 65B, 1.4 T tokens", "days on 2,048", 21, hours / 2048 / 24, "arXiv:2302.13971 section 2.4", True),
    ]


def _chinchilla_rows() -> list[Row]:
    """5.76e23 FLOPs bought 70 B parameters and 1.4 T tokens; the loss is the paper's own law at that point."""
    law, flops, source = CHINCHILLA.law, 5.76e23, "arXiv:2203.15556 table 3, appendix D.3"
    n = law.best_parameters(flops)
    paper = ScalingLaw(e=1.69, a=406.4, alpha=0.34, b=410.7, beta=0.28)
    name = "Chinchilla, 5.76e23 FLOPs"
    return [
        Row(name, "best parameters", 70e9, n, source),
        Row(name, "best tokens", 1.4e12, flops / (6 * n), source),
        Row(name, "loss of 70 B after 1.4 T, nats", paper.loss(70e9, 1.4e12), law.loss(70e9, 1.4e12), source),
        Row(name, "FLOPs of 70 B and 1.4 T", flops, 1.4e12 * flops_per_token(CHINCHILLA_70B, 2048), source),
    ]
