"""A small random model with its tokenizer, and an engine that answers from a script."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from glasshouse.infer import Completion, Engine, SamplingConfig
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors here are tiny: a second thread only waits for the first."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer([Path(json.__file__).read_text(encoding="utf-8")], TokenizerConfig(vocab_size=400))


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Transformer:
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=32, n_layers=1, n_heads=2, n_kv_heads=1, d_head=16, d_ff=48,
        max_seq_len=48,
    )  # fmt: skip
    return Transformer(config, seed=1)


class ScriptedEngine(Engine):
    """Says what `answer(prompt text)` gives; keeps the settings it was asked with."""

    def __init__(self, model: Transformer, tokenizer: Tokenizer, answer: Callable[[str], str]) -> None:
        super().__init__(model, tokenizer)
        self.answer, self.asked = answer, list[SamplingConfig]()

    def generate(self, prompts: Sequence[Sequence[int]], sampling, *, on_finished=None) -> list[Completion]:  # type: ignore[no-untyped-def]
        self.asked = list(sampling)
        texts = [self.answer(self.tokenizer.decode(list(p))) for p in prompts]
        return [Completion(tuple(self.tokenizer.encode(t)), t, "stop", (-0.5,) * 3) for t in texts]


@pytest.fixture
def scripted(model: Transformer, tokenizer: Tokenizer) -> Callable[[Callable[[str], str]], ScriptedEngine]:
    return lambda answer: ScriptedEngine(model, tokenizer, answer)
