from pathlib import Path

import pytest
import torch

from glasshouse.checkpoint import save_checkpoint, verify
from glasshouse.core.errors import CheckpointError
from glasshouse.core.files import read_json, write_json
from glasshouse.explain.beside import read_beside, write_beside
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    return _checkpoint(tmp_path / "model", tokenizer, seed=0)


def _checkpoint(folder: Path, tokenizer: Tokenizer, seed: int) -> Path:
    config = ModelConfig(vocab_size=500, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, d_head=8, d_ff=16,
                         max_seq_len=16)  # fmt: skip
    return save_checkpoint(folder, Transformer(config, seed=seed), tokenizer, recipe={}, cost=None, provenance={})


def test_what_is_written_is_read_back(folder: Path) -> None:
    write_beside(folder, "lens", {"matrix": torch.ones(2, 3)}, {"kl": [0.5]})
    tensors, record = read_beside(folder, "lens", "make it")
    assert torch.equal(tensors["matrix"], torch.ones(2, 3)) and record["kl"] == [0.5]
    verify(folder)  # the checkpoint is as good as before


def test_none_was_made(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no lens. Make it: glass explain"):
        read_beside(folder, "lens", "glass explain train-lens MODEL")


def test_that_of_other_weights_is_refused(folder: Path, tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = write_beside(folder, "lens", {"matrix": torch.ones(2)}, {})
    other = _checkpoint(tmp_path / "other", tokenizer, seed=1)
    for suffix in (".json", ".safetensors"):
        (other / "explain").mkdir(exist_ok=True)
        (other / "explain" / f"lens{suffix}").write_bytes(path.with_suffix(suffix).read_bytes())
    with pytest.raises(CheckpointError, match="belongs to another checkpoint: the weights have changed"):
        read_beside(other, "lens", "make it")


def test_damage_is_told(folder: Path) -> None:
    path = write_beside(folder, "lens", {"matrix": torch.ones(2)}, {})
    path.with_suffix(".safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="missing or damaged"):
        read_beside(folder, "lens", "make it")
    write_json(path, {**read_json(path), "format_version": 99})
    with pytest.raises(CheckpointError, match="of another version"):
        read_beside(folder, "lens", "make it")
    path.write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        read_beside(folder, "lens", "make it")
