import pytest
import torch

from glasshouse.core.errors import ConfigError
from glasshouse.explain import gradient_times_input, integrated_gradients
from glasshouse.model import Taps, Transformer

from .planted import FACT, FACT_ANSWER


def logp(model: Transformer, ids: list[int], embedded_BTD: torch.Tensor, target: int) -> float:
    taps = Taps(edits={"embed": lambda _: embedded_BTD})
    with torch.no_grad():
        return float(model(torch.tensor([ids]), taps=taps)[0, -1].log_softmax(-1)[target])


def test_gradient_times_input_equals_finite_differences(model: Transformer, ids: list[int]) -> None:
    model, step = model.double(), 1e-5
    found = gradient_times_input(model, ids, 7)
    embedded = model.model.embed_tokens(torch.tensor([ids])).detach()
    for t in range(len(ids)):
        change = torch.zeros(1, len(ids), 1, dtype=torch.float64)
        change[0, t] = step
        up, down = (logp(model, ids, embedded * (1 + sign * change), 7) for sign in (1, -1))
        assert float(found.share_T[t]) == pytest.approx((up - down) / (2 * step), abs=1e-4)
    assert found.total == pytest.approx(logp(model, ids, embedded, 7), abs=1e-6)


def test_integrated_gradients_are_complete(model: Transformer, ids: list[int]) -> None:
    found = integrated_gradients(model, ids, 7, tolerance=1e-4)
    assert found.gap is not None and abs(found.gap) < 1e-4
    baseline = model.model.embed_tokens.weight.detach().mean(0).expand(1, len(ids), -1)
    assert found.baseline == pytest.approx(logp(model, ids, baseline, 7), abs=1e-5)
    assert found.share_T.abs().sum() > 0.5  # there was something to share out


def test_integrated_gradients_equal_a_fine_sum(model: Transformer, ids: list[int]) -> None:
    """Five hundred midpoints in float64, without the code under test."""
    model = model.double()
    found = integrated_gradients(model, ids, 7, tolerance=1e-7)
    end = model.model.embed_tokens(torch.tensor([ids])).detach()
    start = model.model.embed_tokens.weight.detach().mean(0).expand_as(end)
    point_B = (torch.arange(500, dtype=torch.float64)[:, None, None] + 0.5) / 500
    leaf = (start + point_B * (end - start)).requires_grad_()
    taps = Taps(edits={"embed": lambda _: leaf})
    value_B = model(torch.tensor([ids] * 500), taps=taps)[:, -1].log_softmax(-1)[:, 7]
    total = torch.autograd.grad(value_B.sum(), leaf)[0].mean(0)
    torch.testing.assert_close(found.share_T, ((end - start) * total).sum(-1)[0], rtol=0, atol=1e-4)


def test_a_planted_fact_rests_on_its_token(planted: Transformer) -> None:
    ids = [3, 5, FACT]
    for found in (gradient_times_input(planted, ids, FACT_ANSWER), integrated_gradients(planted, ids, FACT_ANSWER)):
        assert int(found.share_T.argmax()) == 2 and found.share_T[2] > 3 * found.share_T[:2].abs().max()


def test_an_unknown_target(model: Transformer, ids: list[int]) -> None:
    for method in (gradient_times_input, integrated_gradients):
        with pytest.raises(ConfigError, match="no token 61"):
            method(model, ids, 61)
