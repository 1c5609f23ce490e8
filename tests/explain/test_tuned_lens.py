from pathlib import Path

import numpy as np
import pytest
import torch

from glasshouse.checkpoint import save_checkpoint
from glasshouse.core.errors import CheckpointError
from glasshouse.explain import (
    TunedLensConfig,
    Windows,
    load_tuned_lens,
    logit_lens,
    save_tuned_lens,
    train_tuned_lens,
)
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer

SHAPE = ModelConfig(vocab_size=500, d_model=16, n_layers=2, n_heads=2, n_kv_heads=1, d_head=8, d_ff=32, max_seq_len=32)


def text() -> Windows:
    return Windows(np.random.default_rng(2).integers(0, 500, 4000) % 90, 20)


def test_training_brings_every_layer_nearer_to_the_answer(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = Transformer(SHAPE, seed=3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(10)
    lens = train_tuned_lens(model, text(), TunedLensConfig(steps=50, batch_tokens=400, lr=1e-2))
    assert all(tuned < 0.8 * plain for tuned, plain in zip(lens.kl_L, lens.plain_kl_L))
    folder = save_checkpoint(tmp_path / "model", model, tokenizer, recipe={}, cost=None, provenance={})
    save_tuned_lens(folder, lens)
    read = load_tuned_lens(folder, model)
    assert read.kl_L == lens.kl_L
    ids = list(range(12))
    assert torch.equal(
        logit_lens(model, ids, translators=read.translators), logit_lens(model, ids, translators=lens.translators)
    )
    plain, tuned = logit_lens(model, ids), logit_lens(model, ids, translators=lens.translators)
    assert torch.equal(plain[-1], tuned[-1])  # the last row is the model's own answer, and needs no translation


def test_the_kl_that_is_reported_equals_a_sum_by_hand() -> None:
    model, windows = Transformer(SHAPE, seed=3), text()
    lens = train_tuned_lens(model, windows, TunedLensConfig(steps=1, lr=1e-9))
    (ids_BT,) = windows.held_out(1000, 100_000)
    kls = []
    for ids in ids_BT.tolist():
        logp_RPV = logit_lens(model, ids)
        kls.append((logp_RPV[-1].exp() * (logp_RPV[-1] - logp_RPV[:-1])).sum(-1).mean(-1))
    np.testing.assert_allclose(lens.plain_kl_L, torch.stack(kls).mean(0), atol=1e-5)


def test_a_lens_of_another_shape(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = Transformer(SHAPE, seed=3)
    folder = save_checkpoint(tmp_path / "model", model, tokenizer, recipe={}, cost=None, provenance={})
    save_tuned_lens(folder, train_tuned_lens(model, text(), TunedLensConfig(steps=1)))
    wider = Transformer(SHAPE.model_copy(update={"d_model": 32}), seed=3)
    with pytest.raises(CheckpointError, match="does not fit this model's shape"):
        load_tuned_lens(folder, wider)
