"""Training steps on CPU in fp32: the C++ kernels against this project's own torch path, in turns, in one process.

    python benchmarks/training_speed.py

A step is what training does: loss, backward, gradient norm, clipping, optimizer.  FLOPs are counted as
`flops_per_token` does (a head computed at targets alone counts there alone); the peak is a product of 2,048 x 2,048
matrices by torch, measured between the rounds.  Under six minutes; wants a quiet machine.
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
from glasshouse.model.native import why_unavailable
from glasshouse.objective import lm_loss
from glasshouse.optim import OptimConfig, build_optimizer
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
    write_result("training_speed", [figure for case in CASES for figure in figures(case)])


def figures(case: Case) -> list[Figure]:
    batch = batch_of(case)
    steps = {kernels: step_of(case, batch, kernels) for kernels in ("torch", "auto")}
    seconds: dict[str, list[float]] = {kernels: [] for kernels in steps}
    peaks: list[float] = []
    for step in steps.values():
        step()
    for _ in range(case.n_rounds):
        peaks.append(matmul_flops_per_s())
        for kernels, step in steps.items():
            seconds[kernels].append(timed(step, case.steps))
    torch_s, native_s = (statistics.median(seconds[kernels]) for kernels in ("torch", "auto"))
    peak, flops = max(peaks), flops_of(case, batch)
    ratio = statistics.median(a / b for a, b in zip(seconds["torch"], seconds["auto"], strict=True))
    share, torch_share = flops / native_s / peak, flops / torch_s / peak
    wants_share = case.shape.d_model >= 384
    print(f"{case.what}: {ratio:.2f} x, {batch.n_tokens / native_s:,.0f} tok/s", flush=True)
    return [
        Figure(f"{case.what}: tokens/s of a step, native against torch (median of paired rounds)",
               round(ratio, 3), "x"),
        Figure(f"{case.what}: tokens/s", round(batch.n_tokens / native_s), "tok/s",
               peer_value=round(batch.n_tokens / torch_s)),
        Figure(f"{case.what}: share of the matmul peak ({peak / 1e9:.0f} GFLOP/s)", round(share, 3), "",
               ">= 0.8" if wants_share else None, share >= 0.8 if wants_share else None, round(torch_share, 3)),
        Figure(f"{case.what}: parameters", count_parameters(case.shape).total, ""),
    ]  # fmt: skip


def batch_of(case: Case) -> LMBatch:
    generator = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(case.shape.vocab_size, (case.n_rows, case.n_time + 1), generator=generator)
    mask_BT = None
    if case.target_share is not None:
        mask_BT = torch.rand((case.n_rows, case.n_time), generator=generator) < case.target_share
    return LMBatch(ids_BT[:, :-1], ids_BT[:, 1:], mask_BT)


def step_of(case: Case, batch: LMBatch, kernels: str) -> Callable[[], None]:
    model = Transformer(case.shape)
    model.kernels = kernels  # type: ignore[assignment]
    optimizer = build_optimizer(model, case.optim)
    optimizer.set_kernels(kernels)
    n_targets = batch.count_targets()

    def step() -> None:
        (lm_loss(model, batch).loss_sum / n_targets).backward()
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
