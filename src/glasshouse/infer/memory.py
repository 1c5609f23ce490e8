"""How many blocks of keys and values there is memory for.

Units: bytes.  A budget covers all the engine uses: weights, what a step needs while it runs, and the blocks.
"""

import psutil
import torch

from glasshouse.core.errors import ConfigError
from glasshouse.model import ModelConfig, Transformer

FREE_SHARE = 0.5  # of the memory that is free when no budget is given
N_KEPT = 2  # times what all running sequences can need: the rest keeps beginnings for requests to come


def block_count(
    model: Transformer, block_bytes: int, block_size: int, memory_bytes: int | None, max_running: int,
    max_step_tokens: int,
) -> int:  # fmt: skip
    """Blocks that fit into the budget, or into half of what is free; never more than could be of use."""
    config, weights, step = model.config, weight_bytes(model), step_bytes(model.config, max_step_tokens, max_running)
    # attention gathers one layer of what it reads, with lengths padded by up to two
    cost = block_bytes + 2 * block_bytes // config.n_layers
    useful = N_KEPT * max_running * -(-config.max_seq_len // block_size)
    if memory_bytes is None:
        return max(1, min(useful, int(free_bytes(model.device) * FREE_SHARE - step) // cost))
    n_blocks = (memory_bytes - weights - step) // cost
    if n_blocks < 1:
        raise ConfigError(
            f"a memory budget of {memory_bytes / 2**20:,.0f} MiB is too small: weights take {weights / 2**20:,.0f} "
            f"MiB, a step {step / 2**20:,.0f} MiB. Allow at least {(weights + step + cost) / 2**20 + 1:,.0f} MiB, or "
            "run fewer requests at once (max_running)."
        )
    return min(useful, n_blocks)


def step_bytes(config: ModelConfig, max_step_tokens: int, max_running: int) -> int:
    """Upper estimate of what one step needs beside weights and blocks, counted as fp32."""
    widest = max_step_tokens * (4 * config.d_ff + 8 * config.d_model + 2 * config.max_seq_len)  # the last: its mask
    logits = 8 * max_running * config.vocab_size  # as they are, shaped, sorted, and summed in double precision
    return 4 * (widest + logits)


def weight_bytes(model: Transformer) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())


def free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
