"""What rounding the weights costs: measured in bits per byte, once, on text that is named."""

import math
from pathlib import Path

import pytest
import torch

from glasshouse.checkpoint import save_checkpoint
from glasshouse.core.errors import DataError
from glasshouse.core.files import write_json
from glasshouse.core.rundir import RunDirectory
from glasshouse.infer import quality
from glasshouse.infer.quality import BUILT_IN, measured_loss, quality_loss
from glasshouse.infer.quantize import quantized_path, read_metadata
from glasshouse.model import Transformer
from glasshouse.tokenizer import Tokenizer


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "N_BYTES", 400)


def save(folder: Path, model: Transformer, tokenizer: Tokenizer) -> Path:
    return save_checkpoint(folder, model, tokenizer, recipe={}, cost=None, provenance={})


@pytest.fixture
def folder(tmp_path: Path, model: Transformer, tokenizer: Tokenizer) -> Path:
    return save(tmp_path / "model", model, tokenizer)


def test_quality_loss_is_measured_in_bits_per_byte(folder: Path, model: Transformer, tokenizer: Tokenizer) -> None:
    texts = ["import os\n\ndef f(x):\n    return x\n" * 5, "", "日本語"]
    eight, four = (quality_loss(folder, w, texts) for w in ("int8", "int4"))
    assert eight.n_bytes == sum(len(t.encode()) for t in texts)
    ids = [tokenizer.end_of_text_id, *tokenizer.encode(texts[2])]
    with torch.no_grad():
        logp = model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
    expected = -sum(float(logp[t, id]) for t, id in enumerate(ids[1:])) / math.log(2) / 9
    assert quality_loss(folder, "int8", texts[2:]).before == pytest.approx(expected, rel=1e-5)
    assert abs(eight.loss) < 0.02 * eight.before
    assert abs(eight.loss) < abs(four.loss)
    assert "bits per byte" in str(eight)
    with pytest.raises(DataError, match="text"):
        quality_loss(folder, "int8", ["", ""])


def test_it_is_measured_once_and_recorded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured_loss(folder, None) is measured_loss(folder, "bf16") is None
    first = measured_loss(folder, "int8")
    assert first is not None and first.text == BUILT_IN and first.n_bytes <= 400 and BUILT_IN in str(first)
    metadata = read_metadata(quantized_path(folder, "int8"))
    assert '"before"' in metadata["quality"] and metadata["weights"] == "int8"

    def measure(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(quality, "quality_loss", measure)
    assert measured_loss(folder, "int8") == first
    with pytest.raises(AssertionError, match="measured again"):
        measured_loss(folder, "int4")


def test_a_model_of_a_run_is_judged_on_its_held_out_text(tmp_path: Path, model: Transformer, tokenizer: Tokenizer) -> (
    None
):  # fmt: skip
    run = RunDirectory(tmp_path / "runs" / "mine").create()
    run.recipe_path.write_text("")
    corpus = run.stage("corpus")
    write_json(corpus / "summary.json", {})
    record = '{{"id": "{0}", "text": "{1}", "source": "", "offset": 0, "meta": {{}}, "split": "{2}"}}'
    lines = [record.format("a", "never seen here", "train"), record.format("b", "held out", "holdout")]
    (corpus / "documents.jsonl").write_text("\n".join(lines) + "\n")
    run.link_model(save(run.stage("sft") / "checkpoint", model, tokenizer))
    loss = measured_loss(run.path, "int4")
    assert loss is not None and loss.text == "held-out text of mine" and loss.n_bytes == len("held out")
    assert loss == measured_loss(run.path / "sft", "int4")
