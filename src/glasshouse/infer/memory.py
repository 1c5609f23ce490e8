"""What an engine takes of the memory, and how many blocks of keys and values there is room for.

Units: bytes.  A budget covers all the engine uses: weights as they are kept, what a step needs while it runs, and the
blocks.  The interpreter with torch (0.3 GB) is not counted.
"""

from dataclasses import dataclass

import psutil
import torch

from glasshouse.core.errors import ConfigError
from glasshouse.model import ModelConfig, Transformer

FREE_SHARE = 0.5  # of the memory that is free when no budget is given
N_KEPT = 2  # times what all running sequences can need: the rest keeps beginnings for requests to come
N_LOGITS = 512  # rows of logits that are held at once, at least


@dataclass(frozen=True, slots=True)
class Footprint:
    """What is held: `weights` from the start, `step` at most while one runs, `block` for each block that is used."""

    weights: int
    step: int
    block: int


def block_count(
    footprint: Footprint, config: ModelConfig, block_size: int, max_running: int, memory_bytes: int | None, free: int
) -> int:
    """Blocks that fit into the budget, or into half of what is `free`; never more than could be of use."""
    useful = N_KEPT * max_running * -(-config.max_seq_len // block_size)
    if memory_bytes is None:
        return max(1, min(useful, (int(free * FREE_SHARE) - footprint.step) // footprint.block))
    fixed = footprint.weights + footprint.step
    n_blocks = (memory_bytes - fixed) // footprint.block
    if n_blocks < 1:
        raise ConfigError(
            f"a memory budget of {memory_bytes / 2**20:,.0f} MiB is too small: weights take "
            f"{footprint.weights / 2**20:,.0f} MiB, a step {footprint.step / 2**20:,.0f} MiB. Allow at least "
            f"{(fixed + footprint.block) / 2**20 + 1:,.0f} MiB, or run fewer requests at once (max_running)."
        )
    return min(useful, n_blocks)


def step_bytes(config: ModelConfig, max_step_tokens: int, max_running: int) -> int:
    """Upper estimate of what one step needs beside weights and blocks, counted as fp32."""
    widest = max_step_tokens * (4 * config.d_ff + 8 * config.d_model + 2 * config.max_seq_len)  # the last: its mask
    # as they are, shaped, sorted, and summed in double precision; those of a prompt that is read: logits and scores
    logits = max(8 * max_running, N_LOGITS) * config.vocab_size
    return 4 * (widest + logits)


def weight_bytes(model: Transformer) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())


def free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
