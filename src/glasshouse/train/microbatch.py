"""How many tokens pass through the model at once where a recipe leaves it open: halved until a step fits in memory.

The batch stays what it is; its gradient is that of its microsteps together.  Units: tokens, bytes.
"""

import gc
from collections.abc import Callable
from typing import Any

import psutil
import torch

from glasshouse.core.errors import TrainingError
from glasshouse.core.terminal import format_bytes
from glasshouse.model import ModelConfig, training_bytes


def fit_microbatch(attempt: Callable[[int], None], n_tokens: int, row_tokens: int, *, can_retry: bool = True) -> int:
    """The largest of n_tokens, n_tokens / 2, ... with which `attempt` does not run out of memory; at least one row.

    can_retry: False where a failed attempt would leave other processes waiting.
    """
    tokens = n_tokens
    while True:
        try:
            attempt(tokens)
            return tokens
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if tokens <= row_tokens or not can_retry:
                raise TrainingError(
                    f"{tokens:,} tokens at once do not fit in memory ({str(error).splitlines()[0]}). What would: a "
                    f"lower microbatch_tokens (one row of seq_len is {row_tokens:,}), a shorter seq_len, a smaller "
                    f"model, or weights shared by more processes ([mesh] fsdp)."
                ) from None
        tokens = max(row_tokens, tokens // 2)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def promising_microbatch(
    config: ModelConfig, n_tokens: int, row_tokens: int, free_bytes: int | None = None, **recomputed: Any
) -> int:
    """Where to begin: a CPU's system kills a process rather than refuse it memory, so it is estimated first."""
    free_bytes = psutil.virtual_memory().available if free_bytes is None else free_bytes
    tokens = n_tokens
    while tokens > row_tokens and training_bytes(config, n_tokens, tokens, **recomputed) > free_bytes:
        tokens = max(row_tokens, tokens // 2)
    return tokens


def describe_microbatch(tokens: int, n_tokens: int, peak_bytes: int | None) -> str:
    peak = "" if peak_bytes is None else f", at most {format_bytes(peak_bytes)} in use"
    return f"{tokens:,} tokens at once of {n_tokens:,} a step{peak} (microbatch_tokens, found by trying)"


def is_out_of_memory(error: BaseException) -> bool:
    is_named = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return is_named or "can't allocate memory" in str(error)
