"""Products in 8 bits on a CPU, which has the arithmetic if not the speed."""

import pytest
import torch

from glasshouse.core.errors import ConfigError
from glasshouse.model import ModelConfig, Transformer
from glasshouse.model.float8 import float8_linear, use_float8

SHAPE = ModelConfig(vocab_size=40, d_model=32, n_layers=1, n_heads=2, n_kv_heads=1, d_head=16, d_ff=48, max_seq_len=16)


def test_a_product_and_its_gradients_are_near_the_exact_ones():
    g = torch.Generator().manual_seed(1)
    x = torch.randn(2, 32, 64, generator=g, requires_grad=True)
    weight = (0.01 * torch.randn(48, 64, generator=g)).requires_grad_()
    out, exact = float8_linear(x, weight), x @ weight.T
    assert out.dtype == torch.bfloat16 and out.shape == exact.shape
    grad = torch.randn(exact.shape, generator=g)
    found = torch.autograd.grad(out, (x, weight), grad.bfloat16())
    for ours, right in zip((out, *found), (exact, *torch.autograd.grad(exact, (x, weight), grad))):
        assert (ours.float() - right).norm() < 0.08 * right.norm()
    assert [t.dtype for t in found] == [torch.float32, torch.float32]


def test_numbers_that_8_bits_hold_are_multiplied_exactly():
    x = torch.tensor([[1.0, 2.0, -4.0, 448.0] * 4]).expand(16, -1)
    weight = torch.eye(16) * 448.0
    assert torch.equal(float8_linear(x, weight).float(), (x @ weight.T).bfloat16().float())


def test_scales_follow_the_largest_element():
    x, weight = torch.full((16, 16), 1e-6), torch.full((16, 16), 1e6)
    assert float8_linear(x, weight)[0, 0].item() == pytest.approx(16.0, rel=0.01)
    assert float8_linear(torch.zeros(16, 16), weight).abs().max() == 0


def test_evaluation_is_not_in_8_bits():
    model = Transformer(SHAPE)
    assert use_float8(model) == 7
    ids_BT = torch.arange(16)[None]
    plain = Transformer(SHAPE)
    with torch.no_grad():
        assert not torch.equal(model(ids_BT), plain(ids_BT))
        assert torch.equal(model.eval()(ids_BT), plain.eval()(ids_BT))


def test_a_model_without_a_fitting_matrix_is_refused():
    with pytest.raises(ConfigError, match="multiples of 16; this model has none"):
        use_float8(Transformer(SHAPE.model_copy(update={"d_model": 24, "d_ff": 40, "d_head": 10})))
