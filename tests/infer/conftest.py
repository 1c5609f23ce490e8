"""A small random model whose answers vary."""

from collections.abc import Iterator

import pytest
import torch

from glasshouse.infer import Engine
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer

from ..conftest import varied_model


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors here are tiny: a second thread only waits for the first."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Transformer:
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=48, n_layers=2, n_heads=4, n_kv_heads=2, d_head=16, d_ff=96,
        max_seq_len=64,
    )  # fmt: skip
    return varied_model(config)


@pytest.fixture(scope="session")
def engine(model: Transformer, tokenizer: Tokenizer) -> Engine:
    return Engine(model, tokenizer)


@pytest.fixture(scope="session")
def prompts(tokenizer: Tokenizer) -> list[list[int]]:
    """Of very different lengths, two of them equal."""
    texts = ["def", "import os\n", "x", "class A(B):\n    pass\n" * 3, "日本", "return json.dumps(x)", "def", "# why"]
    return [tokenizer.encode(text) for text in texts]
