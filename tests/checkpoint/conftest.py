"""A small model, its tokenizer, and a saved checkpoint of both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glasshouse.checkpoint import save_checkpoint
from glasshouse.meter import Cost
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

TEXTS = ["def copy(source, target): return target", "the model reads the text and answers", "one two three four"] * 4


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, TokenizerConfig(vocab_size=300))


@pytest.fixture(scope="session")
def config(tokenizer: Tokenizer) -> ModelConfig:
    return ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, d_head=16, d_ff=48,
        max_seq_len=64,
    )  # fmt: skip


@pytest.fixture
def model(config: ModelConfig) -> Transformer:
    return Transformer(config, seed=1)


@pytest.fixture
def save(tmp_path: Path, model: Transformer, tokenizer: Tokenizer) -> Callable[..., Path]:
    """`save(name="step-00000001", **changes)` -> the folder."""

    def do(name: str = "step-00000001", **changes: Any) -> Path:
        given: dict[str, Any] = {
            "recipe": {"train": {"steps": 3}}, "cost": Cost(flops=2.0, seconds=1.5), "provenance": {"corpus": "abc"},
        }  # fmt: skip
        given = {"model": model, "tokenizer": tokenizer, **given, **changes}
        return save_checkpoint(tmp_path / name, given.pop("model"), given.pop("tokenizer"), **given)

    return do
