import pytest
import tiny
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from glasshouse.batch import LMBatch
from glasshouse.model import ModelConfig, Transformer
from glasshouse.objective import lm_loss
from glasshouse.train import add_gradient
from glasshouse.train.recomputing import PRODUCTS, recompute

SHAPE = ModelConfig(vocab_size=40, d_model=32, n_layers=4, n_heads=4, n_kv_heads=2, d_head=8, d_ff=48, max_seq_len=16)


def batch():
    ids_BT = torch.randint(40, (3, 17), generator=torch.Generator().manual_seed(1))
    document_BT = torch.tensor([[0] * 5 + [1] * 11]).expand(3, -1)
    return LMBatch(ids_BT[:, :-1], ids_BT[:, 1:], None, document_BT)


def gradients(model, precision="fp32"):
    model.zero_grad()
    add_gradient(model, batch(), lm_loss, precision=precision)
    return [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("share", "keeps"), [(0.25, "input"), (0.5, "input"), (1.0, "input"), (1.0, "products")])
def test_the_same_gradients_to_the_bit(share, keeps, precision):
    model = Transformer(SHAPE)
    model.kernels = "torch"
    plain = gradients(model, precision)
    recompute(model, share, keeps)
    for a, b in zip(plain, gradients(model, precision)):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("share", "n_twice"), [(0.25, 1), (0.5, 2), (1.0, 4)])
def test_that_share_of_layers_is_computed_twice(share, n_twice):
    model = Transformer(SHAPE)
    calls = []
    for layer in model.model.layers:
        layer.register_forward_pre_hook(lambda *_, layer=layer: calls.append(layer))
    recompute(model, share)
    gradients(model)
    assert len(calls) == SHAPE.n_layers + n_twice


class Counted(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.n_products = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.n_products += operation in PRODUCTS
        return operation(*args, **(kwargs or {}))


def test_a_layer_that_keeps_products_computes_fewer_of_them_again():
    n_products = {}
    for keeps in ("input", "products"):
        model = Transformer(SHAPE)
        recompute(model, 1.0, keeps)
        with Counted() as counted:
            gradients(model)
        n_products[keeps] = counted.n_products
    # of seven products of a layer the last is never needed again; of the six others q, v and gate are kept
    assert n_products["input"] - n_products["products"] == 3 * SHAPE.n_layers


def test_it_judges_and_continues_as_before():
    model = Transformer(SHAPE)
    model.kernels = "torch"
    ids_BT = batch().ids_BT
    with torch.no_grad():
        plain = model(ids_BT)
        recompute(model, 0.5)
        assert torch.equal(model(ids_BT), plain)
    with torch.inference_mode():
        assert torch.equal(model(ids_BT), plain)


def test_a_run_that_recomputes_ends_with_the_same_weights(tmp_path):
    ends = []
    again = ({"recompute": 1.0}, {"recompute": 1.0, "recompute_keeps": "products"})
    for number, changes in enumerate(({"kernels": "torch"}, *again)):
        trainer = tiny.trainer_of(tmp_path / str(number), tiny.config_of(steps=8, **changes))
        trainer.fit()
        ends.append(tiny.weights(tmp_path / str(number)))
    assert all(torch.equal(ends[0][key], end[key]) for end in ends[1:] for key in end)
