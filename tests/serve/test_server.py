import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import openai
import pytest

from glasshouse.checkpoint import save_checkpoint
from glasshouse.core.errors import ConfigError
from glasshouse.infer import Engine
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.keys import KeyStore
from glasshouse.serve.server import check_exposure, named_models

from .conftest import wait_until


def test_nothing_is_exposed_without_a_key(tmp_path: Path) -> None:
    check_exposure(ServeConfig(keys_folder=tmp_path))
    with pytest.raises(ConfigError, match="glass key create"):
        check_exposure(ServeConfig(host="0.0.0.0", keys_folder=tmp_path))
    with pytest.raises(ConfigError, match="cannot be switched off"):
        check_exposure(ServeConfig(host="0.0.0.0", keys_folder=tmp_path, requires_keys=False))
    _, key = KeyStore(tmp_path).create("ada")
    check_exposure(ServeConfig(host="0.0.0.0", keys_folder=tmp_path))
    KeyStore(tmp_path).revoke(key.id)
    with pytest.raises(ConfigError, match="glass key create"):
        check_exposure(ServeConfig(host="0.0.0.0", keys_folder=tmp_path))


def test_names(tmp_path: Path) -> None:
    for name in ("a/model", "b/model", "quick"):
        (tmp_path / name).mkdir(parents=True)
    assert named_models((f"{tmp_path}/quick/", "owner/name")) == {
        "quick": f"{tmp_path}/quick/",
        "owner/name": "owner/name",
    }
    with pytest.raises(ConfigError, match="two models"):
        named_models((f"{tmp_path}/a/model", f"{tmp_path}/b/model"))


def test_sigterm_lets_answers_end_and_takes_no_more(engine: Engine, tmp_path: Path) -> None:
    """The whole process: load, serve, a signal in the middle of an answer, a clean end."""
    folder = save_checkpoint(tmp_path / "tiny", engine.model, engine.tokenizer, recipe={}, cost=None, provenance={})
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = ("import sys; from glasshouse.serve.commands import serve_models; "
            f"serve_models(({str(folder)!r},), {{'port': {port}, 'memory_bytes': 2**30}})")  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: is_up(port) or process.poll() is not None, 120)
        assert process.poll() is None, process.communicate()
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
        stream = client.completions.create(model="tiny", prompt="def", max_tokens=300, temperature=0, stream=True,
                                           logit_bias={"0": -100})  # fmt: skip
        chunks = [next(iter(stream))]
        process.send_signal(signal.SIGTERM)
        reader = threading.Thread(target=lambda: chunks.extend(stream))
        reader.start()
        wait_until(lambda: not is_up(port))
        reader.join(60)
        assert chunks[-1].choices[0].finish_reason == "length", "it came to its end"
        out, log = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGTERM and "serving" in out
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["status"] for line in lines if line["event"] == "request" and line["method"] == "POST"] == [200]
    assert not [line for line in lines if "traceback" in line]


def is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        time.sleep(0.2)
        return False
