"""The exported folder runs where there is Python and NumPy, and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import tokenizers
import torch

from glasshouse.checkpoint import load_config, save_checkpoint
from glasshouse.core.errors import CheckpointError, ConfigError
from glasshouse.core.records import Message
from glasshouse.infer import Engine, SamplingConfig, chat_ids
from glasshouse.infer.standalone import export_standalone
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

TEXTS = [Path(module.__file__ or "").read_text(encoding="utf-8") for module in (json, os)]


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """An interpreter to which NumPy alone is installed."""
    site = tmp_path_factory.mktemp("site")
    packages = Path(numpy.__file__).parents[1]
    for name in ("numpy", "numpy.libs"):
        if (packages / name).exists():
            (site / name).symlink_to(packages / name)

    def do(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]}
        command = [sys.executable, "-S", "-s", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=120)

    for name in ("torch", "tokenizers", "safetensors", "regex", "glasshouse"):
        assert do("-c", f"import {name}").returncode != 0
    assert do("-c", "import numpy").returncode == 0
    return do


def checkpoint(folder: Path, kind: Any, has_qk_norm: bool, **options: Any) -> Path:
    tokenizer = train_tokenizer([*TEXTS, "Größe 日本語 🎉"], TokenizerConfig(kind=kind, vocab_size=500))
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=48, n_layers=2, n_heads=4, n_kv_heads=2, d_head=16, d_ff=96,
        max_seq_len=128, has_qk_norm=has_qk_norm, ties_embeddings=has_qk_norm,
    )  # fmt: skip
    model = Transformer(config, seed=1)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_((weight.dim() == 1) + 0.25 * torch.randn(weight.shape, generator=generator))
    model.to(options.pop("dtype", torch.float32))
    return save_checkpoint(folder, model, tokenizer, recipe={}, cost=None, provenance={}, **options)


@pytest.mark.parametrize(
    ("kind", "has_qk_norm", "options"),
    [
        ("bpe", True, {}),
        ("bpe", False, {"dtype": torch.bfloat16, "max_shard_bytes": 20_000}),
        ("word", False, {"dtype": torch.float16}),
        ("char", True, {}),
    ],
)
def test_it_says_what_the_engine_says(
    bare_python: Any, tmp_path: Path, kind: str, has_qk_norm: bool, options: dict[str, Any]
) -> None:
    source = checkpoint(tmp_path / "model", kind, has_qk_norm, **options)
    made = export_standalone(source, tmp_path / "out")
    assert made.can_chat and made.n_bytes > 50_000
    assert {p.name for p in made.folder.iterdir()} == {
        "run.py", "model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    engine, program = Engine.load(source, "cpu"), str(made.folder / "run.py")
    question, sampling = "What is ſ'S 日本 12?", SamplingConfig(max_tokens=48)
    expected = {
        (question, "--system", "Be brief."): chat_ids(
            engine.tokenizer, [Message("system", "Be brief."), Message("user", question)]
        ),
        ("import json", "--plain"): engine.prompt_ids("import json"),
    }
    for arguments, ids in expected.items():
        result = bare_python(program, *arguments, "--max-tokens", "48")
        assert result.returncode == 0 and result.stderr == ""
        [completion] = engine.generate([ids], sampling)
        assert result.stdout == completion.text + "\n"
        assert completion.text


def test_a_run_is_named_and_an_earlier_export_replaced(bare_python: Any, tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "run" / "model", "bpe", True)
    out = tmp_path / "out"
    export_standalone(tmp_path / "run", out)
    (out / "model.safetensors").write_bytes(b"")
    export_standalone(tmp_path / "run", out)
    assert (out / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    result = bare_python(str(out / "run.py"), "x " * 200)
    assert result.returncode == 1 and "this model reads 1 to 128" in result.stderr
    sampled = [bare_python(str(out / "run.py"), "x", "--temperature", "1", "--seed", seed).stdout for seed in "112"]
    assert sampled[0] == sampled[1] != sampled[2]


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(tmp_path: Path, shared_data: Path) -> None:
    source = checkpoint(tmp_path / "model", "bpe", True)
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not overwritten"):
        export_standalone(source, taken)
    with pytest.raises(CheckpointError, match="no such directory"):
        export_standalone(tmp_path / "nothing" / "there" / "at" / "all", tmp_path / "out")
    foreign = checkpoint(tmp_path / "foreign", "bpe", True)
    for path in (foreign / "glasshouse").iterdir():
        path.unlink()
    (foreign / "glasshouse").rmdir()
    definition = json.loads((foreign / "tokenizer.json").read_text())
    for change, reason in (
        ({"normalizer": {"type": "Lowercase"}}, "uses normalizer"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "is not known here"),
    ):
        (foreign / "tokenizer.json").write_text(json.dumps({**definition, **change}))
        with pytest.raises(ConfigError, match=reason):
            export_standalone(foreign, tmp_path / "out")
    (foreign / "tokenizer.json").write_text(json.dumps(definition))
    weights = (foreign / "model.safetensors").read_bytes().replace(b'"F32"', b'"I32"')
    (foreign / "model.safetensors").write_bytes(weights)
    with pytest.raises(ConfigError, match="I32 cannot be exported"):
        export_standalone(foreign, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


def test_a_model_with_a_template_of_others_continues_text(bare_python: Any, tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "model", "bpe", True)
    settings = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": "{{ messages }}"}))
    for path in (source / "glasshouse").iterdir():
        path.unlink()
    (source / "glasshouse").rmdir()
    made = export_standalone(source, tmp_path / "out")
    assert not made.can_chat
    engine = Engine.load(source, "cpu")
    [completion] = engine.generate([Tokenizer.load(source).encode("import os")], SamplingConfig(max_tokens=20))
    assert bare_python(str(made.folder / "run.py"), "import os", "--max-tokens", "20").stdout == completion.text + "\n"


def test_what_some_vocabularies_put_before_a_text(bare_python: Any, tmp_path: Path) -> None:
    """As `transformers` does: the engine and run.py begin with the same id."""
    transformers = pytest.importorskip("transformers")
    source = checkpoint(tmp_path / "model", "bpe", True)
    shutil.rmtree(source / "glasshouse")
    backend = tokenizers.Tokenizer.from_file(str(source / "tokenizer.json"))
    backend.add_special_tokens(["<|begin_of_text|>"])
    begin = backend.token_to_id("<|begin_of_text|>")
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", begin)]
    )
    backend.save(str(source / "tokenizer.json"))
    model = Transformer(load_config(source).model_copy(update={"vocab_size": begin + 1}), seed=1)
    save_checkpoint(tmp_path / "foreign", model, Tokenizer.load(source), recipe={}, cost=None, provenance={})
    engine = Engine.load(tmp_path / "foreign", "cpu")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(source / "tokenizer.json"))
    text = "import os"
    assert engine.prompt_ids(text) == theirs(text)["input_ids"] == [begin, *engine.tokenizer.encode(text)]
    assert engine.prompt_ids("") == [begin]
    [expected] = engine.generate([engine.prompt_ids(text)], SamplingConfig(max_tokens=12))
    made = export_standalone(tmp_path / "foreign", tmp_path / "out")
    done = bare_python(str(made.folder / "run.py"), text, "--plain", "--max-tokens", "12")
    assert (done.stdout.removesuffix("\n"), done.stderr) == (expected.text, "")
