"""The OpenAPI document, and the server held to it by thousands of requests made up from it."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator

import pytest

from glasshouse.infer import Engine
from glasshouse.model import ModelConfig, Transformer
from glasshouse.serve.config import ServeConfig
from glasshouse.tokenizer import Tokenizer

from .conftest import Running, running

OPERATIONS = {
    "/v1/chat/completions": "post",
    "/v1/completions": "post",
    "/v1/embeddings": "post",
    "/v1/models": "get",
    "/v1/models/{model}": "get",
    "/health": "get",
    "/ready": "get",
    "/metrics": "get",
}
# That every request the document allows be taken is not checked: no document can say how many tokens a text has, which
# ids a vocabulary has, or whether a schema can be compiled.
OPTIONS = ("--exclude-checks=positive_data_acceptance", "--generation-deterministic",
           "--no-color", "--suppress-health-check=all", "--request-timeout=300")  # fmt: skip


def test_the_document_is_true_to_the_app(server: Running) -> None:
    document = server.ask("GET", "/openapi.json").json
    assert {path: next(iter(item)) for path, item in document["paths"].items()} == OPERATIONS
    assert "422" not in document["paths"]["/v1/completions"]["post"]["responses"]
    assert document["components"]["schemas"]["ChatRequest"]["properties"]["model"]["enum"] == ["tiny"]


@pytest.fixture(scope="module")
def brief(tokenizer: Tokenizer) -> Iterator[Running]:
    """Made-up requests rarely say max_tokens, and ask for up to 128 answers: with a context of 768 three of them took
    two of four minutes.  A context and a number of choices at which every answer is short find the same faults."""
    shape = ModelConfig(vocab_size=tokenizer.vocab_size, d_model=32, n_layers=1, n_heads=2, n_kv_heads=1, d_head=16,
                        d_ff=32, max_seq_len=48)  # fmt: skip
    with running(Engine(Transformer(shape, seed=5), tokenizer), ServeConfig(max_choices=4)) as server:
        yield server


def hold_to_document(server: Running, *options: str) -> None:
    if importlib.util.find_spec("schemathesis") is None:
        pytest.skip("schemathesis is not installed")
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", *OPTIONS, *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_a_few_made_up_requests(brief: Running) -> None:
    hold_to_document(brief, "--phases=fuzzing", "--max-examples=3")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_made_up_requests(brief: Running) -> None:
    hold_to_document(brief, "--phases=examples,coverage,fuzzing", "--max-examples=200")
