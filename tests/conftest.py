"""What the tests of several folders share: a tokenizer, models whose answers vary, a browser, and waiting."""

import inspect
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from glasshouse.core.environment import start_torch
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_S = 30


@pytest.fixture(scope="session", autouse=True)
def _torch_settings() -> None:
    start_torch()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real public data laid beside the repository; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no shared data beside the repository")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Of 500 tokens, from source code and a few characters of other scripts."""
    texts = [Path(module.__file__ or "").read_text(encoding="utf-8") for module in (json, shutil)]
    return train_tokenizer([*texts, "Größe, 日本語, 🎉 " * 9], TokenizerConfig(vocab_size=500))


def varied_model(config: ModelConfig) -> Transformer:
    """At initial size every answer would repeat one token."""
    model = Transformer(config, seed=5)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(4)
    return model


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium.  Not for a whole session: while it is open no other test of this thread can run an event loop."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def until(tab: Any, is_so: Callable[[], bool]) -> None:
    """Wait for a page: it draws when it can, so nothing on it may be read just once.

    Playwright's own way compiles text inside the page, which the page's policy rightly refuses.
    """
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, f"waited in vain: {inspect.getsource(is_so).strip()}"
        tab.wait_for_timeout(50)


def wait_until(is_so: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Fails, with the condition as it stands in the test, where it does not come true."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"waited in vain: {inspect.getsource(is_so).strip()}"
        time.sleep(0.01)
