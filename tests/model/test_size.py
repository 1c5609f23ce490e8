"""Formulas against counting."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from glasshouse.model import (
    PRESETS,
    ModelConfig,
    Transformer,
    count_parameters,
    flops_per_token,
)

# what their publishers' weight files hold
PUBLISHED = {
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
}


def test_parameters_equal_the_sum_over_tensors(config: ModelConfig) -> None:
    count = count_parameters(config)
    named = dict(Transformer(config).named_parameters())
    assert count.total == sum(p.numel() for p in named.values())
    assert count.embedding == named["model.embed_tokens.weight"].numel()
    assert count.norms == sum(p.numel() for p in named.values() if p.dim() == 1)
    assert count.matrices == sum(p.numel() for n, p in named.items() if "_proj" in n)
    assert count.head == (0 if config.ties_embeddings else count.embedding)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_weigh_what_is_published(name: str) -> None:
    with torch.device("meta"):
        model = Transformer(PRESETS[name].model_copy(update={"max_seq_len": 8}), seed=None)
    counted = sum(p.numel() for p in model.parameters())
    assert count_parameters(PRESETS[name]).total == counted == PUBLISHED.get(name, counted)


@pytest.mark.parametrize("seq_len", [16, 48])
def test_flops_equal_torch_s_count(config: ModelConfig, seq_len: int) -> None:
    model, ids_BT = Transformer(config), torch.zeros(3, seq_len, dtype=torch.long)
    model.kernels = "torch"  # whose operations can be counted
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward:
        loss = model(ids_BT).mean()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as backward:
        loss.backward()
    counted = forward.get_total_flops() / (3 * seq_len)
    assert flops_per_token(config, seq_len, is_training=False) == pytest.approx(counted, rel=1e-9)
    counted += backward.get_total_flops() / (3 * seq_len)
    assert flops_per_token(config, seq_len) == pytest.approx(counted, rel=0.01)
