"""Training compiled gives what training eagerly gives, to rounding."""

import shutil

import pytest
import torch
from torch._dynamo.utils import counters

from glasshouse.batch import LMBatch
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective import lm_loss
from glasshouse.train.compiling import with_compiled_layers

SHAPE = ModelConfig(vocab_size=60, d_model=24, n_layers=2, n_heads=3, n_kv_heads=1, d_head=8, d_ff=40, max_seq_len=32)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on CPU needs g++")
def test_compiled_gradients_equal_eager_ones():
    counters.clear()
    model = Transformer(SHAPE, seed=1)
    compiled = with_compiled_layers(model)
    ids = torch.randint(60, (4, 17), generator=torch.Generator().manual_seed(0))
    batch = LMBatch(ids[:, :-1], ids[:, 1:])
    results = []
    for trained in (model, compiled):
        output = lm_loss(trained, batch)
        output.loss_mean.backward()
        results.append((output.loss_mean.item(), [p.grad.clone() for p in model.parameters()]))
        model.zero_grad()
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    for a, b in zip(results[0][1], results[1][1]):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert counters["stats"]["unique_graphs"] == 1  # one layer compiled serves for all
