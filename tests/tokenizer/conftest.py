"""Text every machine has, and one small tokenizer of each kind learned from it."""

import ast
import json
import shutil
import textwrap
from pathlib import Path

import pytest

from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

VOCAB_SIZE = 800


@pytest.fixture(scope="session")
def sources() -> list[str]:
    """Four modules of the standard library."""
    return [Path(m.__file__).read_text(encoding="utf-8") for m in (ast, json, shutil, textwrap)]


@pytest.fixture(scope="session")
def bpe(sources: list[str]) -> Tokenizer:
    return train_tokenizer(sources, TokenizerConfig(vocab_size=VOCAB_SIZE))


@pytest.fixture(scope="session")
def word(sources: list[str]) -> Tokenizer:
    return train_tokenizer(sources, TokenizerConfig(kind="word", vocab_size=VOCAB_SIZE))


@pytest.fixture(scope="session")
def char(sources: list[str]) -> Tokenizer:
    return train_tokenizer(sources, TokenizerConfig(kind="char", vocab_size=VOCAB_SIZE))


@pytest.fixture(scope="session", params=["bpe", "word", "char"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """Each kind in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def conformance(shared_data: Path) -> Path:
    """Vocabularies of real systems."""
    return shared_data / "conformance"


@pytest.fixture(scope="session")
def gpt2(conformance: Path) -> Tokenizer:
    return Tokenizer.load(conformance / "gpt2")


@pytest.fixture(scope="session")
def mistral(conformance: Path) -> Tokenizer:
    return Tokenizer.load(conformance / "mistral")
