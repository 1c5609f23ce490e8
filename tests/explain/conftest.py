"""One small model of each family with random norms, a model with planted circuits, and prompts for both."""

import pytest
import torch

from glasshouse.model import InitConfig, ModelConfig, Transformer

from .planted import planted_model

SMALL = ModelConfig(vocab_size=61, d_model=24, n_layers=3, n_heads=4, n_kv_heads=2, d_head=8, d_ff=40, max_seq_len=48)
FAMILIES = {
    "qwen3": SMALL,
    "llama": SMALL.model_copy(update={"has_qk_norm": False, "ties_embeddings": False}),
}


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Transformer:
    model = Transformer(FAMILIES[request.param], InitConfig(std=0.2, embedding_std=0.3), seed=4).eval()
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture
def ids() -> list[int]:
    return torch.randint(0, SMALL.vocab_size, (9,), generator=torch.Generator().manual_seed(1)).tolist()


@pytest.fixture(scope="session")
def planted() -> Transformer:
    return planted_model()
