"""On a GPU weights are bf16: everything runs there too, and its own sums are kept in fp32."""

import numpy as np
import pytest
import torch

from glasshouse.explain import (
    SAEConfig,
    TunedLensConfig,
    Windows,
    attention_patterns,
    direct_attribution,
    gradient_times_input,
    head_scores,
    integrated_gradients,
    logit_lens,
    patch,
    train_sae,
    train_tuned_lens,
)
from glasshouse.model import Transformer


def test_everything_runs_in_bf16(model: Transformer, ids: list[int]) -> None:
    exact_RPV, model = logit_lens(model, ids), model.bfloat16()
    torch.testing.assert_close(logit_lens(model, ids), exact_RPV, rtol=0.1, atol=0.3)
    found = direct_attribution(model, ids, 7, 11)
    assert found.total == pytest.approx(found.logit, abs=0.05)
    assert integrated_gradients(model, ids, 7, tolerance=1.0).share_T.dtype == torch.float32
    assert gradient_times_input(model, ids, 7).share_T.isfinite().all()
    assert attention_patterns(model, ids).isfinite().all() and head_scores(model, 1, 6).previous_LN.isfinite().all()
    assert patch(model, ids, ids[::-1], 7, 11).effect_LT["mlp_out"].isfinite().all()
    windows = Windows(np.random.default_rng(0).integers(0, 61, 400), 20)
    lens = train_tuned_lens(model, windows, TunedLensConfig(steps=2, batch_tokens=40))
    assert logit_lens(model, ids, translators=lens.translators).isfinite().all()
    assert train_sae(model, windows, SAEConfig(steps=2, batch_tokens=40, k=4))[1].loss_replaced > 0
