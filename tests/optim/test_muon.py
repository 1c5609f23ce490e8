"""Muon: what it makes of a gradient, that batching changes nothing, and that it resumes to the bit."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from glasshouse.core.errors import ConfigError
from glasshouse.optim.muon import Muon, orthogonalize, step_scale

SHAPES = [(16, 16), (16, 40), (40, 16), (16, 16), (40, 16), (8, 16)]


def matrices(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def set_gradients(parameters: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(1000 + seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def run(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> list[Tensor]:
    for step in steps:
        set_gradients(parameters, step)
        optimizer.step()
    return [p.detach().clone() for p in parameters]


def test_singular_values_come_out_near_one() -> None:
    values = torch.linalg.svdvals(orthogonalize(torch.randn(5, 24, 60, generator=torch.Generator().manual_seed(0))))
    assert values.min() > 0.66 and values.max() < 1.22


def test_three_iterations_do_nearly_what_five_do() -> None:
    x = torch.randn(5, 24, 60, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(x, 3))
    assert values.min() > 0.72 and values.max() < 1.28


def test_other_numbers_of_iterations_are_refused() -> None:
    with pytest.raises(ConfigError, match="5 or 3 iterations, not for 4"):
        Muon(matrices(), n_iterations=4)


@pytest.mark.parametrize("n", [3, 5])
def test_directions_are_kept(n: int) -> None:
    """The singular vectors are those of the input: U^T result V is diagonal."""
    x = torch.randn(1, 12, 30, generator=torch.Generator().manual_seed(0))
    u, _, vh = torch.linalg.svd(x, full_matrices=False)
    inside = (u.mT @ orthogonalize(x, n) @ vh.mT)[0]
    torch.testing.assert_close(inside, torch.diag(inside.diagonal()), atol=1e-5, rtol=0)


def test_scale_of_the_gradient_does_not_matter_and_zero_stays_zero() -> None:
    x = torch.randn(2, 12, 30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonalize(1e-6 * x), orthogonalize(x), atol=1e-5, rtol=0)
    assert not orthogonalize(torch.zeros(2, 4, 8)).any()


def test_batched_equals_one_matrix_at_a_time() -> None:
    lr, momentum, weight_decay = 0.03, 0.9, 0.1
    together = matrices()
    run(together, Muon(together, lr, momentum, weight_decay), range(3))

    alone = [p.detach().clone() for p in matrices()]
    averages = [torch.zeros_like(p) for p in alone]
    for step in range(3):
        set_gradients(together, step)
        for p, average, other in zip(alone, averages, together, strict=True):
            average.mul_(momentum).add_(other.grad, alpha=1 - momentum)
            ahead = (1 - momentum) * other.grad + momentum * average
            is_tall = p.shape[0] > p.shape[1]
            direction = orthogonalize((ahead.T if is_tall else ahead)[None])[0]
            p.mul_(1 - lr * weight_decay).sub_(lr * step_scale(p) * (direction.T if is_tall else direction))
    for one, many in zip(alone, together, strict=True):
        torch.testing.assert_close(many.detach(), one, atol=1e-5, rtol=1e-5)


def test_agrees_with_torchs_own_muon() -> None:
    """Theirs orthogonalizes in bf16, so single entries differ by about a hundredth of a step's size."""
    ours, theirs = matrices(), matrices()
    run(ours, Muon(ours, lr=0.02, momentum=0.95, weight_decay=0.1), range(4))
    run(theirs, torch.optim.Muon(theirs, lr=0.02, momentum=0.95, weight_decay=0.1), range(4))
    for start, a, b in zip(matrices(), ours, theirs, strict=True):
        assert (a - b).norm() < 0.03 * (a - start).norm()


def test_a_resumed_run_is_the_same_to_the_bit() -> None:
    straight = matrices()
    expected = run(straight, Muon(straight), range(6))

    first = matrices()
    optimizer = Muon(first)
    run(first, optimizer, range(3))
    second = [nn.Parameter(p.detach().clone()) for p in first]
    resumed = Muon(second)
    resumed.load_state_dict(optimizer.state_dict())
    for a, b in zip(expected, run(second, resumed, range(3, 6)), strict=True):
        assert torch.equal(a, b)


def test_groups_keep_their_own_rates_and_missing_gradients_are_left_alone() -> None:
    fast, slow, idle = (nn.Parameter(torch.zeros(8, 8)) for _ in range(3))
    optimizer = Muon([{"params": [fast, idle], "lr": 0.1}, {"params": [slow], "lr": 0.01}])
    for parameter in (fast, slow):
        parameter.grad = torch.eye(8)
    optimizer.step()
    torch.testing.assert_close(fast, 10 * slow)
    assert not idle.any() and idle not in optimizer.state


def test_learns_a_linear_map() -> None:
    generator = torch.Generator().manual_seed(0)
    target, weight = torch.randn(8, 16, generator=generator), nn.Parameter(torch.zeros(8, 16))
    optimizer = Muon([weight], lr=0.2)
    for step in range(200):
        x = torch.randn(64, 16, generator=generator)
        loss = ((x @ (weight - target).T) ** 2).mean()
        weight.grad = None
        loss.backward()
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / 200)
        optimizer.step()
    assert loss.item() < 1e-3


def test_refuses_what_is_not_a_matrix() -> None:
    with pytest.raises(ConfigError, match="AdamW"):
        Muon([nn.Parameter(torch.zeros(3))])


def test_starting_does_not_import_the_compiler() -> None:
    """torch._dynamo costs 2.3 s at the start of every run."""
    program = (
        "import sys, torch; from glasshouse.optim.muon import Muon\n"
        "p = torch.nn.Parameter(torch.zeros(4, 4)); o = Muon([p]); p.grad = torch.eye(4); o.step()\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
