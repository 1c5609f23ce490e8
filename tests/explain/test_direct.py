import pytest
import torch

from glasshouse.core.errors import ConfigError
from glasshouse.explain import direct_attribution
from glasshouse.model import Taps, Transformer

from .planted import FACT, FACT_ANSWER, FACT_NEURON


@pytest.mark.parametrize(("other", "position"), [(None, -1), (11, -1), (11, 4)])
def test_the_parts_add_up_to_the_logit(model: Transformer, ids: list[int], other: int | None, position: int) -> None:
    found = direct_attribution(model, ids, 7, other, position)
    logit_V = model(torch.tensor([ids]))[0, position].detach()
    assert found.logit == pytest.approx(float(logit_V[7] - (0 if other is None else logit_V[other])), abs=1e-5)
    assert found.total == pytest.approx(found.logit, abs=1e-5)
    torch.testing.assert_close(found.neuron_LF.sum(-1), found.mlp_L)


@torch.no_grad()
def test_a_last_layer_head_is_what_its_removal_takes_away(model: Transformer, ids: list[int]) -> None:
    """With the norm's scale frozen: the oracle removes the head and applies the old scale by hand."""
    last, head = model.config.n_layers - 1, 2
    found = direct_attribution(model, ids, 7)
    taps = Taps([f"layers.{last}.resid_post"])
    model(torch.tensor([ids]), taps=taps)
    x_D = taps.values[f"layers.{last}.resid_post"][0, -1]
    keep_N1 = (torch.arange(model.config.n_heads) != head)[:, None]
    without = Taps([f"layers.{last}.attn_out"], edits={f"layers.{last}.head_out": lambda out: out * keep_N1})
    whole = Taps([f"layers.{last}.attn_out"])
    for t in (whole, without):
        model(torch.tensor([ids]), taps=t)
    wrote_D = (whole.values[f"layers.{last}.attn_out"] - without.values[f"layers.{last}.attn_out"])[0, -1]
    scale = 1 / float((x_D.pow(2).mean() + model.config.norm_eps).sqrt())
    expected = (wrote_D * scale * model.model.norm.weight) @ model.head_weight_VD[7]
    assert float(found.head_LN[last, head]) == pytest.approx(float(expected), abs=1e-5)


def test_planted_parts_get_their_due(planted: Transformer) -> None:
    fact = direct_attribution(planted, [3, FACT], FACT_ANSWER)
    assert fact.logit > 1 and fact.neuron_LF[0, FACT_NEURON] == pytest.approx(fact.logit, abs=1e-5)
    copied = direct_attribution(planted, [2, 9, 6, 4, 9], target=6)  # 9 was followed by 6
    assert copied.head_LN[1, 0] > 0.95 * copied.logit > 1


@pytest.mark.parametrize("named", [{"target": 61}, {"target": 1, "other": -1}, {"target": 1, "position": 9}])
def test_unknown_places(model: Transformer, ids: list[int], named: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="there is no"):
        direct_attribution(model, ids, **named)
