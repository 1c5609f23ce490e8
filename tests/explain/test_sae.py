from pathlib import Path

import numpy as np
import pytest
import torch

from glasshouse.checkpoint import save_checkpoint
from glasshouse.core.errors import CheckpointError, ConfigError
from glasshouse.explain import SAEConfig, Windows, feature_passages, load_sae, save_sae, train_sae
from glasshouse.explain.sae import keep_largest, residual_after
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer

from .planted import IS

SHAPE = ModelConfig(vocab_size=500, d_model=16, n_layers=2, n_heads=2, n_kv_heads=1, d_head=8, d_ff=32, max_seq_len=32)


def test_only_the_largest_are_kept_and_never_a_negative_one() -> None:
    kept = keep_largest(torch.tensor([[3.0, -1.0, 2.0, 1.0], [-1.0, -2.0, 4.0, -3.0]]), 2)
    assert kept.tolist() == [[3, 0, 2, 0], [0, 0, 4, 0]]


def test_planted_features_are_found(planted: Transformer) -> None:
    """After layer 0 the stream says which token this is and which was before: two features a token, forty in all."""
    windows = Windows(np.random.default_rng(0).integers(0, 16, 16 * 400), 16)
    config = SAEConfig(layer=0, n_features=48, k=3, steps=200, batch_tokens=256, lr=1e-2, dead_after_tokens=5000)
    sae, report = train_sae(planted, windows, config)
    assert report.explained_variance > 0.95
    assert report.loss_replaced == pytest.approx(report.loss_clean, abs=0.1) != pytest.approx(report.loss_ablated)
    directions = torch.eye(64)[IS : IS + 16] - torch.eye(64)[IS : IS + 16].mean(0)
    cosine = torch.nn.functional.cosine_similarity(sae.decoder_UD[:, None], directions[None], dim=-1)
    assert (cosine.max(0).values > 0.8).float().mean() > 0.75  # most tokens have a feature of their own


def test_the_report_equals_sums_by_hand() -> None:
    model = Transformer(SHAPE, seed=3)
    windows = Windows(np.random.default_rng(1).integers(0, 90, 3000), 20)
    sae, report = train_sae(model, windows, SAEConfig(layer=1, n_features=48, k=4, steps=20, batch_tokens=200))
    (ids_BT,) = windows.held_out(1000, 100_000)
    with torch.no_grad():
        x = residual_after(model, 1, ids_BT).flatten(0, 1)
        strength = sae.encode(x)
        left = (x - sae.decode(strength)).pow(2).sum() / (x - x.mean(0)).pow(2).sum()
        loss = torch.nn.functional.cross_entropy(model(ids_BT)[:, :-1].flatten(0, 1), ids_BT[:, 1:].flatten())
    assert report.explained_variance == pytest.approx(1 - float(left), abs=1e-5)
    assert report.n_dead == int((strength == 0).all(0).sum())
    assert report.loss_clean == pytest.approx(float(loss), abs=1e-5)
    assert report.n_tokens == ids_BT.numel() and (strength > 0).sum(-1).max() <= 4


def test_it_is_kept_beside_the_checkpoint(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = Transformer(SHAPE, seed=3)
    folder = save_checkpoint(tmp_path / "model", model, tokenizer, recipe={}, cost=None, provenance={})
    windows = Windows(np.random.default_rng(1).integers(0, 90, 3000), 20)
    sae, report = train_sae(model, windows, SAEConfig(layer=1, n_features=24, k=4, steps=3))
    passages = feature_passages(model, windows, sae, k=2)
    save_sae(folder, sae, report, passages)
    read, read_report, read_passages = load_sae(folder, model, 1)
    assert torch.equal(read.encoder_UD, sae.encoder_UD) and read_report == report and read_passages == passages
    with pytest.raises(CheckpointError, match=r"has no sae-layer0. Make it: glass explain train-sae MODEL --layer 0"):
        load_sae(folder, model, 0)
    with pytest.raises(ConfigError, match="no layer 2"):
        load_sae(folder, model, 2)


@pytest.mark.parametrize(("settings", "message"), [({"layer": 2}, "no layer 2"), ({"n_features": 8, "k": 9}, "k .9.")])
def test_bad_settings(settings: dict[str, int], message: str) -> None:
    windows = Windows(np.zeros(400, dtype=np.int64), 20)
    with pytest.raises(ConfigError, match=message):
        train_sae(Transformer(SHAPE, seed=3), windows, SAEConfig(**settings))
