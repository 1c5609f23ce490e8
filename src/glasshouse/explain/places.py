"""Where to look: prompts, positions, layers, heads and tokens, checked once and refused in words.

Shapes: T tokens.  Positions count from 0; a negative one counts from the end, as in Python.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.model import ModelConfig, Transformer


def prompt_row(model: Transformer, ids: Sequence[int]) -> Tensor:
    """`ids` as the model reads them, (1, T); refused when empty, too long or outside the vocabulary."""
    limit = model.config.max_seq_len
    if not ids:
        raise ConfigError("the prompt has no tokens; give at least one")
    if len(ids) > limit:
        raise ConfigError(f"this prompt has {len(ids)} tokens; the model's context is {limit}. Shorten it.")
    for id in ids:
        checked_token(model.config, id)
    return torch.tensor([list(ids)], device=model.device)


def checked_position(position: int, n_tokens: int) -> int:
    """`checked_position(-1, 5)` -> 4."""
    if not -n_tokens <= position < n_tokens:
        raise ConfigError(f"there is no position {position}: the prompt has {n_tokens} tokens, 0 to {n_tokens - 1}")
    return position % n_tokens


def checked_layer(config: ModelConfig, layer: int) -> int:
    if not 0 <= layer < config.n_layers:
        raise ConfigError(f"there is no layer {layer}: this model has {config.n_layers}, 0 to {config.n_layers - 1}")
    return layer


def checked_head(config: ModelConfig, head: int) -> int:
    if not 0 <= head < config.n_heads:
        raise ConfigError(f"there is no head {head}: each layer has {config.n_heads}, 0 to {config.n_heads - 1}")
    return head


def checked_token(config: ModelConfig, id: int) -> int:
    if not 0 <= id < config.vocab_size:
        raise ConfigError(f"there is no token {id}: this model's vocabulary goes from 0 to {config.vocab_size - 1}")
    return id
