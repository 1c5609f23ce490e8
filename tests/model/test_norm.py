"""The hand-written backward pass is the derivative, and equals torch's."""

import pytest
import torch
import torch.nn.functional as F

from glasshouse.model.norm import _RMSNorm, rms_norm


@pytest.mark.parametrize("shape", [(2, 3, 16), (5, 8), (2, 3, 4, 6)])
def test_value_and_gradients_equal_torch_s(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, requires_grad=True)
    weight = torch.randn(shape[-1], requires_grad=True)
    g = torch.randn(shape)
    ours, theirs = rms_norm(x, weight, 1e-5), F.rms_norm(x, shape[-1:], weight, 1e-5)
    assert type(ours.grad_fn).__name__ == "_RMSNormBackward"
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours, (x, weight), g), torch.autograd.grad(theirs, (x, weight), g), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_the_derivative_is_right() -> None:
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: _RMSNorm.apply(x, w, 1e-5), (x, weight))


def test_a_strided_input_is_read_right() -> None:
    x = torch.randn(4, 6, 3).transpose(1, 2).requires_grad_()
    torch.testing.assert_close(rms_norm(x, torch.ones(6), 1e-6), F.rms_norm(x, (6,), torch.ones(6), 1e-6))


def test_zeros_are_survived() -> None:
    x = torch.zeros(2, 4, requires_grad=True)
    y = rms_norm(x, torch.ones(4), 1e-6)
    y.sum().backward()
    assert y.abs().max() == 0 and x.grad is not None and torch.isfinite(x.grad).all()
