"""The OpenAPI document, and the server held to it by thousands of requests made up from it."""

import importlib.util
import subprocess
import sys

import pytest

from .conftest import Running

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


def hold_to_document(server: Running, *options: str) -> None:
    if importlib.util.find_spec("schemathesis") is None:
        pytest.skip("schemathesis is not installed")
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", *OPTIONS, *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_a_few_made_up_requests(server: Running) -> None:
    hold_to_document(server, "--phases=fuzzing", "--max-examples=3")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_made_up_requests(server: Running) -> None:
    hold_to_document(server, "--phases=examples,coverage,fuzzing", "--max-examples=200")
