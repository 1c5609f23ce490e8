"""Formulas against counting."""

import subprocess
import sys

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from glasshouse.model import (
    PRESETS,
    ModelConfig,
    Transformer,
    count_parameters,
    estimate_training_bytes,
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


MEASURE = """
import sys
from glasshouse.core.environment import start_torch
start_torch()
import torch
from glasshouse.meter import peak_memory_bytes
from glasshouse.model import PRESETS, Transformer

torch.set_num_threads(1)
model = Transformer(PRESETS[sys.argv[1]])
optimizer = torch.optim.AdamW(model.parameters(), fused=True)
ids_BT = torch.zeros(int(sys.argv[2]) // 128, 128, dtype=torch.long)
for _ in range(2):
    torch.nn.functional.cross_entropy(model(ids_BT).flatten(0, 1), ids_BT.flatten()).backward()
    optimizer.step()
    optimizer.zero_grad()
print(peak_memory_bytes())
"""


@pytest.mark.parametrize(("preset", "n_tokens"), [("quickstart", 2048), ("quickstart", 8192), ("tiny", 16384)])
def test_memory_is_near_what_a_training_process_takes(preset: str, n_tokens: int) -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE, preset, str(n_tokens)], capture_output=True, text=True)
    assert estimate_training_bytes(PRESETS[preset], n_tokens) == pytest.approx(int(done.stdout), rel=0.3)
