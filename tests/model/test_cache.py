"""Storage grows by doubling and keeps what it holds."""

import pytest
import torch

from glasshouse.core.errors import ConfigError
from glasshouse.model import KVCache, ModelConfig


def test_growth_doubles_and_stops_at_the_model_s_length(config: ModelConfig) -> None:
    cache, sizes = KVCache(config, 2, 4), []
    for n in range(1, config.max_seq_len + 1):
        cache.reserve(n)
        sizes.append(cache.n_slots)
    assert sorted(set(sizes)) == [4, 8, 16, 32, 64]
    with pytest.raises(ConfigError, match="at most 64"):
        cache.reserve(65)


def test_growing_keeps_what_was_written(config: ModelConfig) -> None:
    cache = KVCache(config, 2, 4)
    kv_BTKH = torch.randn(2, 3, config.n_kv_heads, config.d_head)
    cache.n_filled = 3
    cache.write(1, kv_BTKH, 2 * kv_BTKH, None)
    cache.reserve(20)
    assert torch.equal(cache.keys[1][:, :, :3].transpose(1, 2), kv_BTKH)
    assert torch.equal(cache.values[1][:, :, :3].transpose(1, 2), 2 * kv_BTKH)
    assert cache.keys[1][:, :, 3:].abs().max() == 0 and cache.keys[0].abs().max() == 0


def test_slot_equals_position(config: ModelConfig) -> None:
    cache = KVCache(config, 2, 8)
    kv_BTKH = torch.randn(2, 1, config.n_kv_heads, config.d_head)
    cache.n_filled = 6
    cache.write(0, kv_BTKH, kv_BTKH, torch.tensor([[5], [2]]))
    assert torch.equal(cache.keys[0][0, :, 5], kv_BTKH[0, 0]) and torch.equal(cache.keys[0][1, :, 2], kv_BTKH[1, 0])
    assert cache.keys[0][1, :, 5].abs().max() == 0
