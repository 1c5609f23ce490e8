import json
from pathlib import Path

import pytest

from glasshouse.checkpoint import save_checkpoint
from glasshouse.cli.serving import export
from glasshouse.core.errors import ConfigError
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tokenizer = train_tokenizer([Path(json.__file__).read_text(encoding="utf-8")], TokenizerConfig(vocab_size=300))
    config = ModelConfig(
        vocab_size=300, d_model=16, n_layers=1, n_heads=1, n_kv_heads=1, d_head=16, d_ff=16, max_seq_len=32
    )
    return save_checkpoint(tmp_path / "model", Transformer(config), tokenizer, recipe={}, cost=None, provenance={})


def test_export_says_what_was_made_and_how_to_use_it(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(model, tmp_path / "[alone]")
    said = capsys.readouterr().out
    assert "MB" in said and f"python {tmp_path}/[alone]/run.py" in said
    assert (tmp_path / "[alone]" / "run.py").is_file()
    with pytest.raises(ConfigError, match="not overwritten"):
        export(model, tmp_path)
