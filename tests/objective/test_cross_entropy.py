import pytest
import torch
import torch.nn.functional as F

from glasshouse.objective import cross_entropy


@pytest.mark.parametrize("n_chunks", [1, 3])
def test_chunked_equals_torch(monkeypatch, n_chunks):
    monkeypatch.setattr(cross_entropy, "PLAIN_ELEMENTS", 0)
    monkeypatch.setitem(cross_entropy.CHUNK_ELEMENTS, "cpu", -(-20 // n_chunks) * 31)
    g = torch.Generator().manual_seed(1)
    hidden, head = torch.randn(20, 8, generator=g), torch.randn(31, 8, generator=g)
    targets = torch.randint(31, (20,), generator=g)
    results = []
    for function in (
        cross_entropy.cross_entropy_sum,
        lambda h, w, t: F.cross_entropy(F.linear(h, w), t, reduction="sum"),
    ):
        h, w = hidden.clone().requires_grad_(), head.clone().requires_grad_()
        loss = function(h, w, targets)
        (loss / 7).backward()
        results.append((loss.detach(), h.grad, w.grad))
    for ours, expected in zip(*results):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_a_certain_wrong_answer_stays_finite(monkeypatch):
    monkeypatch.setattr(cross_entropy, "PLAIN_ELEMENTS", 0)
    hidden = torch.tensor([[200.0, 0.0]], requires_grad=True)
    loss = cross_entropy.cross_entropy_sum(hidden, torch.eye(2), torch.tensor([1]))
    loss.backward()
    assert loss.item() == pytest.approx(200.0)
    assert hidden.grad.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize("between", ["_error", "_compiled_error"])
def test_under_autocast_the_products_are_bf16_and_the_sums_are_not(monkeypatch, between):
    """Within bf16's rounding of the fp32 loss, and closer to it than the plain form under autocast."""
    monkeypatch.setattr(cross_entropy, "PLAIN_ELEMENTS", 0)
    monkeypatch.setitem(cross_entropy.CHUNK_ELEMENTS, "cpu", 10 * 31)
    monkeypatch.setattr(torch, "compile", lambda function: function)
    cross_entropy._compiled_error.cache_clear()
    g = torch.Generator().manual_seed(1)
    hidden, head = torch.randn(40, 8, generator=g), torch.randn(31, 8, generator=g)
    targets = torch.randint(31, (40,), generator=g)
    exact = gradients_of(hidden, head, lambda h, w: F.cross_entropy(F.linear(h, w), targets, reduction="sum"))
    with torch.autocast("cpu", torch.bfloat16):
        kernels = "torch" if between == "_error" else "compiled"
        ours = gradients_of(
            hidden.bfloat16(), head, lambda h, w: cross_entropy.cross_entropy_sum(h, w, targets, kernels)
        )
    assert [t.dtype for t in ours] == [torch.float32, torch.bfloat16, torch.float32]
    for found, expected in zip(ours, exact):
        assert (found.float() - expected).norm() < 0.01 * expected.norm()
    cross_entropy._compiled_error.cache_clear()


def gradients_of(hidden, head, loss_of):
    h, w = hidden.clone().requires_grad_(), head.clone().requires_grad_()
    loss = loss_of(h, w)
    loss.backward()
    return loss.detach(), h.grad, w.grad
