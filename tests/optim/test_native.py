"""Muon's iteration in C++ against float64 torch."""

import pytest
import torch

from glasshouse.optim import Muon
from glasshouse.optim.muon import COEFFICIENTS, orthogonalize
from glasshouse.optim.native import is_native, orthogonalize_


@pytest.fixture(autouse=True)
def _has_kernels() -> None:
    if not is_native(torch.ones(64, 1, 1)):
        pytest.skip("no C++ compiler")


@pytest.mark.parametrize("n", [5, 3])
@pytest.mark.parametrize("shape", [(9, 64, 96), (3, 24, 40), (4, 33, 100), (8, 1, 5), (5, 130, 130)], ids=str)
def test_it_is_the_iteration_of_float64(shape: tuple[int, int, int], n: int) -> None:
    x_KRC = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    exact_KRC = x_KRC.double() / x_KRC.double().norm(dim=(-2, -1), keepdim=True)
    for a, b, c in COEFFICIENTS[n]:
        gram = exact_KRC @ exact_KRC.mT
        exact_KRC = a * exact_KRC + (b * gram + c * gram @ gram) @ exact_KRC
    before = x_KRC.clone()
    found_KRC = orthogonalize(x_KRC.clone(), n, kernels="auto")
    assert torch.equal(x_KRC, before)
    error = (found_KRC - exact_KRC).norm() / exact_KRC.norm()
    assert error < (1e-5 if n == 5 else 1e-4)  # steeper polynomials
    assert error < 1e-5 + 3 * (orthogonalize(x_KRC, n) - exact_KRC).norm() / exact_KRC.norm()


def in_bf16(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.bfloat16).to(torch.float64)


SHAPES = [(9, 64, 96), (3, 24, 40), (4, 33, 100), (5, 130, 130)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_bf16_the_factors_are_rounded_and_nothing_else(shape: tuple[int, int, int]) -> None:
    """One iteration: in five a factor whose last bit tips to its other neighbour becomes 480 times as much."""
    x_KRC, (a, b, c) = torch.randn(shape, generator=torch.Generator().manual_seed(1)), COEFFICIENTS[3][0]
    x = x_KRC.double() / x_KRC.double().norm(dim=(-2, -1), keepdim=True)
    gram = in_bf16(x) @ in_bf16(x).mT
    expected = a * x + in_bf16(b * gram + c * in_bf16(gram) @ in_bf16(gram)) @ in_bf16(x)
    rounding = (orthogonalize_(x_KRC.clone(), [(a, b, c)]) - expected).norm()
    assert rounding > 1e-5 * expected.norm()
    assert (orthogonalize_(x_KRC.clone(), [(a, b, c)], is_bf16=True) - expected).norm() < 0.1 * rounding


@pytest.mark.parametrize("n", [5, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bf16_is_as_near_as_torch_s(shape: tuple[int, int, int], n: int) -> None:
    x_KRC = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    exact_KRC = orthogonalize(x_KRC.double(), n)
    error, torch_s = (
        (orthogonalize(x_KRC.clone(), n, kernels, "bf16") - exact_KRC).norm() / exact_KRC.norm()
        for kernels in ("auto", "torch")
    )
    assert error < 2.5 * torch_s < 0.1


def test_zero_stays_zero_and_nan_stays_in_its_matrix() -> None:
    x_KRC = torch.zeros(3, 20, 40)
    x_KRC[1] = torch.eye(40)[:20]
    x_KRC[2, 0, 0] = torch.nan
    found_KRC = orthogonalize(x_KRC.clone(), kernels="auto")
    assert not found_KRC[0].any() and found_KRC[1].isfinite().all() and found_KRC[2].isnan().any()


def test_bits_are_the_same_on_any_number_of_threads() -> None:
    x_KRC, before, results = torch.randn(7, 40, 70), torch.get_num_threads(), []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        results.append(orthogonalize(x_KRC.clone(), kernels="auto"))
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_steps_are_those_of_torch_s_kernels() -> None:
    trained = []
    for kernels in ("torch", "auto"):
        generator = torch.Generator().manual_seed(2)
        weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((40, 24), (24, 40))]
        optimizer = Muon(weights, weight_decay=0.1)
        optimizer.kernels = kernels
        for _ in range(5):
            for weight in weights:
                weight.grad = torch.randn(weight.shape, generator=generator)
            optimizer.step()
        trained.append(weights)
    for a, b in zip(*trained):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
