"""Models of the Hub, from a local server that speaks its protocol."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from glasshouse.checkpoint import load_model, save_checkpoint
from glasshouse.core.errors import CheckpointError
from glasshouse.infer import Engine, SamplingConfig, hub, location
from glasshouse.infer.hub import HubName, fetch
from glasshouse.infer.location import locate
from glasshouse.model import ModelConfig, Transformer
from glasshouse.model.config import RopeScaling
from glasshouse.tokenizer import JinjaTemplate, Tokenizer

pytest.importorskip("huggingface_hub")

spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
assert spec is not None and spec.loader is not None
hub_server = importlib.util.module_from_spec(spec)
sys.modules["hub_server"] = hub_server
spec.loader.exec_module(hub_server)

REPO = "owner/tiny-model"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Any]:
    with hub_server.HubServer(tmp_path / "hub").running() as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def publish(tmp_path: Path, served: Any, model: Transformer, tokenizer: Tokenizer) -> Callable[..., Path]:
    """`publish(revision="main", **save options)` puts a checkpoint on the server, as others write one."""

    def do(revision: str = "main", **options: Any) -> Path:
        made = tmp_path / "made"
        save_checkpoint(made, options.pop("model", model), tokenizer, recipe={}, cost=None, provenance={}, **options)
        shutil.rmtree(made / "glasshouse")
        (made / "modeling_evil.py").write_text("raise SystemExit")
        (made / "pytorch_model.bin").write_bytes(b"a pickle")
        folder = served.root / REPO / revision
        shutil.copytree(made, folder)
        return folder

    return do


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def files_of(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def refused(served: Any, cache: Path, name: str = REPO) -> str:
    with pytest.raises(CheckpointError) as caught:
        locate(name, endpoint=served.endpoint, cache=cache)
    return str(caught.value)


def test_a_model_of_the_hub_answers_as_the_one_that_was_published(
    served: Any, publish: Any, cache: Path, engine: Engine, prompts: Any
) -> None:
    publish()
    found = locate(REPO, endpoint=served.endpoint, cache=cache)
    loaded = Engine.load(found.folder)
    texts = [[c.text for c in e.generate(prompts, SamplingConfig(max_tokens=8))] for e in (engine, loaded)]
    assert texts[0] == texts[1]
    assert found.hub is not None
    assert found.hub.to_json() == {
        "repo": REPO, "revision": "main", "commit": hub_server.commit_of("main"), "is_from_cache": False,
    }  # fmt: skip
    assert files_of(found.folder) == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert not any(path.endswith((".bin", ".py")) for _, path in served.requests)


def test_a_revision_is_pinned(served: Any, publish: Any, cache: Path) -> None:
    publish()
    other = publish("v2")
    edit(other / "generation_config.json", note="second")
    first, second = (locate(name, endpoint=served.endpoint, cache=cache) for name in (REPO, f"{REPO}@v2"))
    assert first.hub is not None and second.hub is not None
    assert second.hub.commit == hub_server.commit_of("v2") != first.hub.commit
    assert "note" in json.loads((second.folder / "generation_config.json").read_text())
    assert "note" not in json.loads((first.folder / "generation_config.json").read_text())

    served.requests.clear()
    by_commit, record = fetch(HubName(REPO, second.hub.commit), endpoint=served.endpoint, cache=cache)
    assert by_commit == second.folder and record.is_from_cache and served.requests == []


def test_nothing_is_downloaded_twice(served: Any, publish: Any, cache: Path) -> None:
    publish()
    locate(REPO, endpoint=served.endpoint, cache=cache)
    served.requests.clear()
    locate(REPO, endpoint=served.endpoint, cache=cache)  # this process knows already
    assert served.requests == []
    fetch(HubName(REPO), endpoint=served.endpoint, cache=cache)  # another one asks which commit it is
    assert all(method == "HEAD" or path.startswith("/api/") for method, path in served.requests)


def test_off_line_the_last_download_is_used(
    served: Any, publish: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    assert "there is no directory of this name" in refused_off_line(cache)
    folder, _ = fetch(HubName(REPO), endpoint=served.endpoint, cache=cache)
    again, record = fetch(HubName(REPO), endpoint="http://127.0.0.1:9", cache=cache)
    assert again == folder and record.is_from_cache and record.commit == hub_server.commit_of("main")
    served.is_down = True
    assert fetch(HubName(REPO), endpoint=served.endpoint, cache=cache)[0] == folder
    monkeypatch.setattr(hub, "is_hub_offline", lambda: True)
    served.requests.clear()
    assert fetch(HubName(REPO), endpoint=served.endpoint, cache=cache)[0] == folder and served.requests == []

    (folder / "model.safetensors").unlink()  # a download that broke off
    assert "has to be downloaded" in refused_off_line(cache)


def refused_off_line(cache: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        fetch(HubName(REPO), endpoint="http://127.0.0.1:9", cache=cache)
    return str(caught.value)


def test_shards_are_fetched_as_their_index_names_them(
    served: Any, publish: Any, cache: Path, model: Transformer
) -> None:
    folder = publish(max_shard_bytes=30_000)
    shutil.copy(folder / "tokenizer.json", folder / "consolidated.safetensors")  # not in the index
    found, _ = fetch(HubName(REPO), endpoint=served.endpoint, cache=cache)
    assert "consolidated.safetensors" not in files_of(found)
    assert len([name for name in files_of(found) if name.startswith("model-0")]) > 2
    loaded, _ = load_model(found)
    for name, weight in model.named_parameters():
        assert torch.equal(loaded.get_parameter(name), weight)
    (folder / sorted(p.name for p in folder.glob("model-0*"))[1]).unlink()
    assert "incomplete: model-00002" in refused(served, cache.with_name("other"))


def test_foreign_families_and_templates(served: Any, publish: Any, cache: Path, tokenizer: Tokenizer) -> None:
    """A Llama with stretched RoPE in bf16, written as older and newer tools write it, with its own template."""
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size + 12, d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, d_head=16, d_ff=48,
        max_seq_len=64, has_qk_norm=False, ties_embeddings=False, rope_theta=5e5,
        rope_scaling=RopeScaling(factor=8.0, original_max_seq_len=32),
    )  # fmt: skip
    model = Transformer(config, seed=3).to(torch.bfloat16)
    folder = publish(model=model)
    written = json.loads((folder / "config.json").read_text())
    for key in ("rope_parameters", "model_type", "dtype"):
        del written[key]
    (folder / "config.json").write_text(json.dumps({**written, "pretraining_tp": 1, "head_dim": None}))
    edit(folder / "tokenizer_config.json", chat_template=None)
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}<|im_end|>")
    found, _ = fetch(HubName(REPO), endpoint=served.endpoint, cache=cache)
    loaded, its_tokenizer = load_model(found)
    assert loaded.config == config and loaded.dtype == torch.float32
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight.float())  # type: ignore[union-attr]
    assert isinstance(its_tokenizer.template, JinjaTemplate)
    prompt = its_tokenizer.template.ids(its_tokenizer, [{"role": "user", "content": "hi"}])
    assert prompt == [*tokenizer.encode("hi"), tokenizer.im_end_id]


def test_what_is_wrong_is_said_before_the_weights_are_fetched(
    served: Any, publish: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = publish()
    config = (folder / "config.json").read_text()
    edit(folder / "config.json", architectures=["GPTNeoXForCausalLM"])
    assert "Known: Qwen3ForCausalLM, LlamaForCausalLM" in refused(served, cache / "1")
    (folder / "config.json").write_text(config)
    with monkeypatch.context() as patched:
        patched.setattr(hub.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        assert "has only 0.00 GB free" in refused(served, cache / "2")
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer.json" in refused(served, cache / "3")
    (folder / "model.safetensors").unlink()
    assert "no safetensors weights. It has pytorch_model.bin" in refused(served, cache / "4")
    (folder / "config.json").unlink()
    assert "no config.json" in refused(served, cache / "5")
    assert not any("/cdn/" in path for _, path in served.requests)


def test_what_is_not_there_or_not_allowed_is_said(served: Any, publish: Any, cache: Path) -> None:
    publish()
    assert "neither a directory here nor a model" in refused(served, cache, "nobody/nothing")
    assert "no revision 'v9'" in refused(served, cache, f"{REPO}@v9")
    served.gated.add(REPO)
    assert "accept the terms" in (text := refused(served, cache)) and "hf auth login" in text
    _, record = fetch(HubName(REPO), endpoint=served.endpoint, cache=cache, token=hub_server.TOKEN)
    assert record.commit == hub_server.commit_of("main")


def test_a_full_disk_while_writing_is_said(served: Any, publish: Any, cache: Path) -> None:
    publish()
    cache.write_text("not a folder")
    assert "cannot be written" in refused(served, cache)


def test_a_hostile_index_leads_nowhere(served: Any, publish: Any, cache: Path) -> None:
    folder = publish(max_shard_bytes=30_000)
    edit(folder / "model.safetensors.index.json", weight_map={"model.norm.weight": "../../secret.safetensors"})
    assert "not inside the checkpoint" in refused(served, cache)


def test_a_directory_wins_and_asks_no_network(
    tmp_path: Path, model: Transformer, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: Any, **__: Any) -> Any:
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr(location, "fetch", ask)
    monkeypatch.chdir(tmp_path)
    save_checkpoint(Path(REPO), model, tokenizer, recipe={}, cost=None, provenance={})
    assert locate(REPO) == location.Location(Path(REPO))
    with pytest.raises(CheckpointError, match='Did you mean "owner/tiny-model"'):
        locate("owner/tiny-mode")
    with pytest.raises(CheckpointError, match="neither a run directory"):
        Path("owner/empty").mkdir()
        locate("owner/empty")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", HubName("HuggingFaceTB/SmolLM2-135M-Instruct")),
        ("Qwen/Qwen3-0.6B@main", HubName("Qwen/Qwen3-0.6B")),
        ("a/b@refs/pr/1", HubName("a/b", "refs/pr/1")),
        *((text, None) for text in ("name", "a/b/c", "/a/b", "./a", "../a", "a/..", "a/b@", "a/b@../c", "a b/c",
                                    "~/model", "a/b?x=1", "a//b", "https://h/a", "", "a/.b", "é/b")),
    ],
)  # fmt: skip
def test_names(text: str, expected: HubName | None) -> None:
    assert HubName.parse(text) == expected


def test_the_commit_is_in_the_record_of_what_is_served(
    served: Any, publish: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("v2")
    monkeypatch.setattr(location, "_fetched", {})
    monkeypatch.setattr(location, "fetch", lambda name, **_: fetch(name, endpoint=served.endpoint, cache=cache))
    from fastapi.testclient import TestClient

    from glasshouse.serve.app import create_app
    from glasshouse.serve.config import ServeConfig
    from glasshouse.serve.server import load_engine

    config = ServeConfig(keys_folder=cache / "keys", weights="fp32")
    app = create_app({"m": load_engine(f"{REPO}@v2", config)}, config)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        [card] = client.get("/v1/models").json()["data"]
    commit = hub_server.commit_of("v2")
    hub = {"repo": REPO, "revision": "v2", "commit": commit, "is_from_cache": False}
    assert card["metadata"] == {"weights": "fp32", "hub": hub}
