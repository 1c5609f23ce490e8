"""The compiled head against float64 torch: log-probabilities, entropies, the loss, and all gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.model.native import why_no_bf16
from glasshouse.objective import cross_entropy_sum
from glasshouse.objective.native import is_native, log_probabilities

SHAPES = [(100, 48, 97), (1, 33, 5), (30, 16, 32), (700, 32, 2100)]  # the last in more than one chunk


@pytest.fixture(autouse=True)
def _has_kernels() -> None:
    if not is_native(torch.ones(1, 1), torch.ones(1, 1)):
        pytest.skip("no C++ compiler")


def given(n_tokens: int, d_model: int, n_vocab: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n_tokens)
    hidden_MD = torch.randn(n_tokens, d_model, generator=generator)
    weight_VD = torch.randn(n_vocab, d_model, generator=generator) * 2 / d_model**0.5
    return hidden_MD, weight_VD, torch.randint(n_vocab, (n_tokens,), generator=generator)


def leaves(hidden_MD: Tensor, weight_VD: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return hidden_MD.to(dtype, copy=True).requires_grad_(), weight_VD.to(dtype, copy=True).requires_grad_()


def same(found: Tensor | None, expected: Tensor | None, floor: float = 1e-9) -> None:
    assert found is not None and expected is not None
    assert (found.double() - expected.double()).norm() <= 2e-6 * expected.double().norm() + floor


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_loss_and_its_gradients(shape: tuple[int, int, int]) -> None:
    hidden_MD, weight_VD, targets_M = given(*shape)
    (h, w), (exact_h, exact_w) = (leaves(hidden_MD, weight_VD, dtype) for dtype in (torch.float32, torch.float64))
    loss, exact = (
        cross_entropy_sum(h, w, targets_M, "auto"),
        F.cross_entropy(exact_h @ exact_w.T, targets_M, reduction="sum"),
    )
    (loss / 7).backward()
    (exact / 7).backward()
    same(loss.detach(), exact.detach())
    same(h.grad, exact_h.grad)
    same(w.grad, exact_w.grad)


@pytest.mark.parametrize("has_entropy", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_log_probabilities_and_entropies(shape: tuple[int, int, int], has_entropy: bool) -> None:
    hidden_MD, weight_VD, targets_M = given(*shape)
    pull_2M = torch.randn(2, shape[0], generator=torch.Generator().manual_seed(3))
    (h, w), (exact_h, exact_w) = (leaves(hidden_MD, weight_VD, dtype) for dtype in (torch.float32, torch.float64))
    found_2M = log_probabilities(h, w, targets_M, 0.7, has_entropy)
    logp_MV = (exact_h @ exact_w.T / 0.7).log_softmax(1)
    entropy_M = -(logp_MV.exp() * logp_MV).sum(1) * has_entropy
    exact_2M = torch.stack((logp_MV.gather(1, targets_M[:, None])[:, 0], entropy_M))
    (found_2M * pull_2M).sum().backward()
    (exact_2M * pull_2M).sum().backward()
    floor = 1e-5 if has_entropy else 1e-9  # ln p and H are rounded where p is near 1
    same(found_2M.detach(), exact_2M.detach(), floor)
    same(h.grad, exact_h.grad, floor)
    same(w.grad, exact_w.grad, floor)


def in_bf16(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).to(x.dtype)


@pytest.mark.skipif(why_no_bf16() is not None, reason=str(why_no_bf16()))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_bf16_the_factors_are_rounded_and_nothing_else(shape: tuple[int, int, int]) -> None:
    hidden_MD, weight_VD, targets_M = given(*shape)
    h, w = leaves(hidden_MD, weight_VD, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = cross_entropy_sum(h, w, targets_M, "auto")
        with torch.no_grad():
            logps = log_probabilities(h, w, targets_M, 1.0, False)
    loss.backward()

    exact_h, exact_w = hidden_MD.double(), weight_VD.double()
    x_MV = in_bf16(exact_h) @ in_bf16(exact_w).T
    row = torch.arange(len(targets_M))
    e_MV = (x_MV - x_MV.max(1, keepdim=True).values).exp()
    all_M = e_MV.sum(1, keepdim=True)
    e_MV[row, targets_M] -= all_M[:, 0]
    logp_M = x_MV.log_softmax(1)[row, targets_M]
    same(loss.detach(), -logp_M.sum())
    same(logps[0], logp_M)
    for found, expected, unrounded in (
        (h.grad, in_bf16(e_MV) @ in_bf16(exact_w) / all_M, e_MV @ exact_w / all_M),
        (w.grad, in_bf16(e_MV).T @ in_bf16(exact_h / all_M), e_MV.T @ (exact_h / all_M)),
    ):
        assert found is not None
        rounding = (unrounded - expected).norm()
        assert rounding / expected.norm() > 1e-5 and (found - expected).norm() < 0.1 * rounding


def test_bits_are_the_same_on_any_number_of_threads() -> None:
    hidden_MD, weight_VD, targets_M = given(*SHAPES[-1])
    before, results = torch.get_num_threads(), []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        h, w = leaves(hidden_MD, weight_VD, torch.float32)
        loss = cross_entropy_sum(h, w, targets_M, "auto")
        loss.backward()
        results.append((loss.detach(), h.grad, w.grad))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other))


def test_threads_wait_for_each_other_between_chunks() -> None:
    """Without gradients too: a ragged last chunk is shared out in other places than the one before."""
    hidden_MD, weight_VD, targets_M = given(924, 64, 4096)  # chunks of 36 tiles and 30
    before, found = torch.get_num_threads(), []
    for n_threads in (1, *(2,) * 40):
        torch.set_num_threads(n_threads)
        found.append(log_probabilities(hidden_MD, weight_VD, targets_M, 1.0, False)[0])
    torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_a_certain_wrong_answer_stays_finite() -> None:
    hidden = torch.tensor([[200.0, 0.0]], requires_grad=True)
    loss = cross_entropy_sum(hidden, torch.eye(2), torch.tensor([1]), "auto")
    loss.backward()
    assert loss.item() == pytest.approx(200.0)
    assert hidden.grad is not None and hidden.grad.tolist() == [[1.0, -1.0]]


def test_targets_and_shapes_are_checked() -> None:
    hidden_MD, weight_VD, _ = given(3, 4, 5)
    weight_VD.requires_grad_()
    for targets, message in (([0, 1, 5], "0 to 4; got 0 to 5"), ([-1, 0, 1], "got -1"), ([0, 1], "for 2 targets")):
        with pytest.raises(ConfigError, match=message):
            cross_entropy_sum(hidden_MD, weight_VD, torch.tensor(targets), "auto")


def test_what_it_is_not_for() -> None:
    plain, empty = torch.ones(2, 2), torch.ones(0, 2)
    assert is_native(plain, plain) and not is_native(empty, plain) and not is_native(plain.double(), plain.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert is_native(plain, plain) == (why_no_bf16() is None)


def test_second_derivatives_are_refused() -> None:
    h, w = leaves(*given(3, 4, 5)[:2], torch.float32)
    for value in (cross_entropy_sum(h, w, torch.tensor([0, 1, 2]), "auto").square(),
                  log_probabilities(h, w, torch.tensor([0, 1, 2]), 1.0, True).sum()):  # fmt: skip
        with pytest.raises(RuntimeError, match="no second derivative"):
            torch.autograd.grad(value, h, create_graph=True)
