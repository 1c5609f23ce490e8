"""One small model of each family, with random norms, so that every part shows in the result."""

import pytest
import torch

from glasshouse.model import InitConfig, ModelConfig, Transformer

SMALL = ModelConfig(vocab_size=97, d_model=48, n_layers=3, n_heads=4, n_kv_heads=2, d_head=12, d_ff=80, max_seq_len=64)
FAMILIES = {
    "qwen3": SMALL,
    "llama": SMALL.model_copy(update={"has_qk_norm": False, "ties_embeddings": False, "n_kv_heads": 4}),
}


@pytest.fixture(params=FAMILIES)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return FAMILIES[request.param]


@pytest.fixture
def model(config: ModelConfig) -> Transformer:
    model = Transformer(config, InitConfig(std=0.15, embedding_std=0.2), seed=4)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()
