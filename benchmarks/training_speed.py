"""Training steps on CPU, the C++ kernels against this project's own torch path, in turns, in one process: in fp32 and,
where the processor multiplies it, in bf16.

    python benchmarks/training_speed.py

A step is what training does: loss, backward, gradient norm, clipping, optimizer.  FLOPs are counted as
`flops_per_token` does (a head computed at targets alone counts there alone); the peak is a product of 2,048 x 2,048
matrices of fp32 by torch, measured between the rounds.  Under ten minutes; wants a quiet machine.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from record import Figure, write_result

from glasshouse.batch import LMBatch
from glasshouse.core.environment import start_torch
from glasshouse.model import ModelConfig, Transformer, count_parameters, flops_per_token
from glasshouse.model.native import Kernels, why_no_bf16, why_unavailable
from glasshouse.objective import lm_loss
from glasshouse.optim import OptimConfig, build_optimizer
from glasshouse.optim.muon import Precision, orthogonalize
from glasshouse.plan.shape import shape_of_width

QUICKSTART = shape_of_width(128, 4096, 256)
TEN = ModelConfig(
    vocab_size=65, d_model=384, n_layers=6, n_heads=6, n_kv_heads=6, d_head=64, d_ff=1024, max_seq_len=256
)
FIFTY = ModelConfig(vocab_size=4096, d_model=640, n_layers=9, n_heads=10, n_kv_heads=10, d_head=64, d_ff=1920,
                    max_seq_len=256)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """`target_share`: of positions whose next token counts; None: all."""

    what: str
    shape: ModelConfig
    n_rows: int
    n_time: int
    target_share: float | None
    n_rounds: int
    steps: int
    optim: OptimConfig


@dataclass(frozen=True)
class Way:
    kernels: Kernels
    is_bf16: bool


TORCH, NATIVE = Way("torch", False), Way("auto", False)
TORCH_BF16, NATIVE_BF16 = Way("torch", True), Way("auto", True)
WAYS = (TORCH, NATIVE, TORCH_BF16, NATIVE_BF16)
ADAMW = OptimConfig(matrices="adamw", matrix_lr=1e-3)  # as the peers of these sizes
CASES = [
    Case("quickstart's fine-tuning (128 wide, 3 layers, 51 x 40)", QUICKSTART, 51, 40, 0.45, 7, 6, OptimConfig()),
    Case("quickstart's pretraining (128 wide, 3 layers, 32 x 256)", QUICKSTART, 32, 256, None, 5, 3, OptimConfig()),
    Case("10.7 M parameters (384 wide, 6 layers, 12 x 256)", TEN, 12, 256, None, 4, 1, ADAMW),
    Case("50 M parameters (640 wide, 9 layers, 4 x 256)", FIFTY, 4, 256, None, 3, 1, ADAMW),
]


def main() -> None:
    start_torch()
    if why := why_unavailable():
        raise SystemExit(f"the native kernels cannot be had here: {why}")
    write_result("training_speed", [*(figure for case in CASES for figure in figures(case)), *muon_figures()])


def figures(case: Case) -> list[Figure]:
    batch = batch_of(case)
    ways = [way for way in WAYS if not way.is_bf16 or why_no_bf16() is None]
    steps = {way: step_of(case, batch, way) for way in ways}
    seconds: dict[Way, list[float]] = {way: [] for way in ways}
    peaks: list[float] = []
    for step in steps.values():
        step()
    for _ in range(case.n_rounds):
        peaks.append(matmul_flops_per_s())
        for way, step in steps.items():
            seconds[way].append(timed(step, case.steps))
    speed = {way: round(batch.n_tokens / statistics.median(seconds[way])) for way in ways}
    peak, flops = max(peaks), flops_of(case, batch)
    share, torch_share = (flops / statistics.median(seconds[way]) / peak for way in (NATIVE, TORCH))
    wants_share = case.shape.d_model >= 384
    print(
        f"{case.what}: " + ", ".join(f"{way.kernels}{' in bf16' * way.is_bf16} {n:,}" for way, n in speed.items()),
        flush=True,
    )
    found = [
        Figure(f"{case.what}: tokens/s of a step, native against torch (median of paired rounds)",
               ratio(seconds, TORCH, NATIVE), "x"),
        Figure(f"{case.what}: tokens/s", speed[NATIVE], "tok/s", peer_value=speed[TORCH]),
        Figure(f"{case.what}: share of the matmul peak", round(share, 3), f"of {peak / 1e9:.0f} GFLOP/s",
               ">= 0.8" if wants_share else None, share >= 0.8 if wants_share else None, round(torch_share, 3)),
        Figure(f"{case.what}: parameters", count_parameters(case.shape).total, ""),
    ]  # fmt: skip
    if NATIVE_BF16 in ways:
        found += [
            Figure(f"{case.what}: the native kernels in bf16 against themselves in fp32",
                   ratio(seconds, NATIVE, NATIVE_BF16), "x"),
            Figure(f"{case.what}: tokens/s in bf16", speed[NATIVE_BF16], "tok/s", peer_value=speed[TORCH_BF16]),
        ]  # fmt: skip
    return found


def ratio(seconds: dict[Way, list[float]], slow: Way, fast: Way) -> float:
    return round(statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)), 3)


def muon_figures() -> list[Figure]:
    """The iteration of all matrices of `TEN`: 24 of 384 x 384, 18 of 384 x 1,024.  Four seconds."""
    width, layers = TEN.d_model, TEN.n_layers
    stacks = [torch.randn(4 * layers, width, width), torch.randn(3 * layers, width, TEN.d_ff)]

    def milliseconds(n_iterations: int, precision: Precision) -> float:
        return 1e3 * min(
            timed(lambda: [orthogonalize(x.clone(), n_iterations, "auto", precision) for x in stacks], 1)
            for _ in range(7)
        )

    return [
        Figure(f"Muon's iteration of 42 matrices, 384 wide: {n} times, in {precision}",
               round(milliseconds(n, precision)), "ms")
        for precision in ("fp32", "bf16") for n in (5, 3)
    ]  # fmt: skip


def batch_of(case: Case) -> LMBatch:
    generator = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(case.shape.vocab_size, (case.n_rows, case.n_time + 1), generator=generator)
    mask_BT = None
    if case.target_share is not None:
        mask_BT = torch.rand((case.n_rows, case.n_time), generator=generator) < case.target_share
    return LMBatch(ids_BT[:, :-1], ids_BT[:, 1:], mask_BT)


def step_of(case: Case, batch: LMBatch, way: Way) -> Callable[[], None]:
    model = Transformer(case.shape)
    model.kernels = way.kernels
    optimizer = build_optimizer(model, case.optim)
    optimizer.set_kernels(way.kernels)
    n_targets = batch.count_targets()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=way.is_bf16):
            loss = lm_loss(model, batch).loss_sum / n_targets
        loss.backward()
        grads = [p.grad for p in optimizer.parameters if p.grad is not None]
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads))))
        torch._foreach_mul_(grads, min(1.0, 1.0 / norm))
        optimizer.step()
        optimizer.zero_grad()

    return step


def flops_of(case: Case, batch: LMBatch) -> float:
    without_target = batch.n_tokens - batch.count_targets()
    head = 6.0 * case.shape.vocab_size * case.shape.d_model
    return flops_per_token(case.shape, case.n_time) * batch.n_tokens - head * without_target


def timed(step: Callable[[], None], n: int) -> float:
    """Seconds of one step: the mean of n."""
    started_at = time.perf_counter()
    for _ in range(n):
        step()
    return (time.perf_counter() - started_at) / n


def matmul_flops_per_s() -> float:
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return 2 * 2048**3 / min(timed(lambda: torch.mm(a, b), 1) for _ in range(4))


if __name__ == "__main__":
    main()
