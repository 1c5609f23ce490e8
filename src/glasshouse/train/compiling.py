"""What computes the steps: the compiled C++ decoder on CPU, else torch, compiled where that repays.

The native decoder (`model.native`) needs no choice: where it can run, it is the fastest.  For torch.compile the eager
step is timed, and compiled only when the run is long enough.  One layer is compiled and serves for all, so the cost
does not grow with depth.  The choice is written down, because all three differ in the last bits: a resumed run must
not choose again.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from glasshouse.core.files import read_json, write_json
from glasshouse.core.terminal import format_seconds
from glasshouse.model import Transformer
from glasshouse.model.native import Kernels, why_torch
from glasshouse.objective import LanguageModel

CompileMode = Literal["auto", "never", "always"]
# What is expected before it is tried, and then measured: on two CPU cores as seen, on a GPU assumed
COST_S = {"cpu": 25.0, "cuda": 25.0}
GAIN = {"cpu": 1.3, "cuda": 1.5}
MARGIN = 1.2  # compile only when the predicted saving exceeds its cost by this factor
RECORD = "compile.json"


NATIVE_REASON = "forward and backward in C++ built for this processor"
IN_BF16 = ", products in bf16"


@dataclass(frozen=True, slots=True)
class CompileChoice:
    is_compiled: bool
    reason: str
    is_native: bool = False

    def __str__(self) -> str:
        return f"{'native' if self.is_native else 'compiled' if self.is_compiled else 'eager'}: {self.reason}"


def with_compiled_layers(model: Transformer) -> Transformer:
    """For training; evaluation and sampling keep the eager one, whatever their shapes."""
    return model.computed_by([torch.compile(block, dynamic=False) for block in model.blocks], "compiled")


def choose(
    mode: CompileMode, n_steps: int, eager_step_s: float | None, has_fixed_shape: bool, device: str = "cpu"
) -> CompileChoice:
    """The pure decision.  `eager_step_s` None: not measured, for nothing depends on it."""
    if mode == "never":
        return CompileChoice(False, "asked for")
    if mode == "always":
        return CompileChoice(True, "asked for")
    if not has_fixed_shape:
        return CompileChoice(False, "batches have many shapes, each would be compiled anew")
    if shutil.which("g++") is None and shutil.which("c++") is None and shutil.which("clang++") is None:
        return CompileChoice(False, "no C++ compiler on this machine (install g++ to use it)")
    if eager_step_s is None:
        return CompileChoice(False, "the run is too short to measure")
    saving_s, cost_s = n_steps * eager_step_s * (1 - 1 / GAIN[device]), COST_S[device]
    planned = f"{n_steps:,} steps of {1e3 * eager_step_s:.1f} ms: compiling would save {format_seconds(saving_s)}"
    return CompileChoice(saving_s > MARGIN * cost_s, f"{planned}, costs about {format_seconds(cost_s)}")


def prepare(
    model: Any,
    probe: Callable[[LanguageModel], None],
    *,
    mode: CompileMode,
    n_steps: int,
    has_fixed_shape: bool,
    folder: Path,
    kernels: Kernels,
    is_bf16: bool = False,
) -> tuple[LanguageModel, CompileChoice]:
    """The model to train with.  `probe` runs forward and backward on the first batch and changes nothing.

    is_bf16: whether products are to be computed in bf16.
    """
    record = folder / RECORD
    known = read_json(record) if record.exists() else None
    choice = _native(model, kernels, mode, known, is_bf16)
    if choice.is_native:
        write_json(record, {"is_compiled": False, "is_native": True, "reason": choice.reason})
        return model, choice
    trained, torch_choice = _with_torch(model, probe, mode, n_steps, has_fixed_shape, known)
    write_json(record, {"is_compiled": torch_choice.is_compiled, "is_native": False, "reason": torch_choice.reason})
    reason = f"{torch_choice.reason}; {choice.reason}" if choice.reason else torch_choice.reason
    return trained, CompileChoice(torch_choice.is_compiled, reason)


def _native(
    model: Any, kernels: Kernels, mode: CompileMode, known: Mapping[str, Any] | None, is_bf16: bool
) -> CompileChoice:
    """Sets `model.kernels`.  The reason is empty where the recipe itself asks for torch."""
    if kernels == "torch" or mode == "always":
        model.kernels = "torch"
        return CompileChoice(False, "")
    if known is not None and not known.get("is_native", False):
        model.kernels = "torch"
        return CompileChoice(False, "as this run began: the native kernels would give other last bits")
    model.kernels = "auto"
    why = why_torch(model, is_bf16)
    if why is not None:
        return CompileChoice(False, why)
    return CompileChoice(False, NATIVE_REASON + IN_BF16 * is_bf16, is_native=True)


def _with_torch(
    model: Any, probe: Callable[[LanguageModel], None], mode: CompileMode, n_steps: int, has_fixed_shape: bool,
    known: Mapping[str, Any] | None,
) -> tuple[LanguageModel, CompileChoice]:  # fmt: skip
    if known is not None and mode == "auto":
        choice = CompileChoice(bool(known["is_compiled"]), str(known["reason"]))
        return (with_compiled_layers(model) if choice.is_compiled else model), choice
    # below 2,000 steps only steps over 50 ms can repay; ask the clock only where the answer can be yes
    needs_clock = mode == "auto" and has_fixed_shape and n_steps >= 20
    eager_s = _time_step(lambda: probe(model)) if needs_clock else None
    choice = choose(mode, n_steps, eager_s, has_fixed_shape, model.device.type)
    trained: LanguageModel = model
    if choice.is_compiled:
        trained, choice = _compile(model, probe, eager_s, choice)
    return trained, choice


def _compile(
    model: Any, probe: Callable[[LanguageModel], None], eager_s: float | None, choice: CompileChoice
) -> tuple[LanguageModel, CompileChoice]:
    """Compile and measure.  What fails to compile, or is no faster, is trained eagerly."""
    started_at = time.perf_counter()
    compiled = with_compiled_layers(model)
    try:
        probe(compiled)
    except Exception as error:  # the compiler's errors have no common base; eager training is always right
        return model, CompileChoice(False, f"compiling failed ({type(error).__name__}); training eagerly")
    spent_s = time.perf_counter() - started_at
    if eager_s is None:
        return compiled, choice
    compiled_s = _time_step(lambda: probe(compiled))
    gain = f"{1e3 * eager_s:.1f} → {1e3 * compiled_s:.1f} ms a step after {format_seconds(spent_s)} of compiling"
    if compiled_s > 0.97 * eager_s:
        return model, CompileChoice(False, f"no faster compiled ({gain})")
    return compiled, CompileChoice(True, gain)


def _time_step(step: Callable[[], None]) -> float:
    """Seconds of the better of two steps after one that warms up."""
    times = []
    for _ in range(3):
        started_at = time.perf_counter()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started_at)
    return min(times[1:])
