import pytest
import tiny
import torch

from glasshouse.batch import LMBatch
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective import lm_loss
from glasshouse.train import add_gradient
from glasshouse.train.recomputing import recomputing

SHAPE = ModelConfig(vocab_size=40, d_model=32, n_layers=4, n_heads=4, n_kv_heads=2, d_head=8, d_ff=48, max_seq_len=16)


def batch():
    ids_BT = torch.randint(40, (3, 17), generator=torch.Generator().manual_seed(1))
    document_BT = torch.tensor([[0] * 5 + [1] * 11]).expand(3, -1)
    return LMBatch(ids_BT[:, :-1], ids_BT[:, 1:], None, document_BT)


def gradients(model, view, precision="fp32"):
    model.zero_grad()
    add_gradient(view, batch(), lm_loss, precision=precision)
    return [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_the_same_gradients_to_the_bit(share, precision):
    model = Transformer(SHAPE)
    model.kernels = "torch"
    plain = gradients(model, model, precision)
    for a, b in zip(plain, gradients(model, recomputing(model, share), precision)):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("share", "n_twice"), [(0.25, 1), (0.5, 2), (1.0, 4)])
def test_that_share_of_layers_is_computed_twice(share, n_twice):
    model = Transformer(SHAPE)
    calls = []
    for layer in model.model.layers:
        layer.register_forward_pre_hook(lambda *_, layer=layer: calls.append(layer))
    gradients(model, recomputing(model, share))
    assert len(calls) == SHAPE.n_layers + n_twice


def test_a_run_that_recomputes_ends_with_the_same_weights(tmp_path):
    ends = []
    for name, changes in (("plain", {"kernels": "torch"}), ("again", {"recompute": 1.0})):
        trainer = tiny.trainer_of(tmp_path / name, tiny.config_of(steps=8, **changes))
        trainer.fit()
        ends.append(tiny.weights(tmp_path / name))
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
