import pytest
import torch

from glasshouse.core.errors import ConfigError
from glasshouse.explain import Translators, logit_lens
from glasshouse.model import Transformer

from .planted import FACT, FACT_ANSWER


def test_the_last_row_is_the_model_itself(model: Transformer, ids: list[int]) -> None:
    logp_RPV = logit_lens(model, ids)
    assert logp_RPV.shape == (model.config.n_layers + 1, len(ids), model.config.vocab_size)
    torch.testing.assert_close(logp_RPV[-1], model(torch.tensor([ids]))[0].log_softmax(-1), rtol=0, atol=1e-5)


def test_each_row_is_a_model_cut_off_there(model: Transformer, ids: list[int]) -> None:
    """A model without its upper blocks is the oracle: it can say nothing but what the lens reads."""
    logp_RPV, blocks = logit_lens(model, ids), model.model.layers
    for row in range(len(blocks) + 1):
        model.model.layers = blocks[:row]
        torch.testing.assert_close(logp_RPV[row], model(torch.tensor([ids]))[0].log_softmax(-1), rtol=0, atol=1e-5)


def test_positions_may_be_chosen(model: Transformer, ids: list[int]) -> None:
    torch.testing.assert_close(logit_lens(model, ids, [2, -1]), logit_lens(model, ids)[:, [2, len(ids) - 1]])


def test_translators_of_zeros_change_nothing(model: Transformer, ids: list[int]) -> None:
    n, d = model.config.n_layers, model.config.d_model
    zeros = Translators(torch.zeros(n, d, d), torch.zeros(n, d))
    assert torch.equal(logit_lens(model, ids, translators=zeros), logit_lens(model, ids))


def test_a_planted_fact_appears_after_its_layer(planted: Transformer) -> None:
    p_RV = logit_lens(planted, [3, FACT], [-1])[:, 0].exp()
    assert p_RV[0, FACT_ANSWER] < 0.1
    assert p_RV[1].argmax() == FACT_ANSWER and p_RV[1, FACT_ANSWER] > 0.5


@pytest.mark.parametrize(
    ("given", "positions", "message"),
    [
        ([], None, "no tokens"),
        ([1] * 49, None, "49 tokens; the model's context is 48"),
        ([1, 61], None, "no token 61"),
        ([1, 2], [2], "no position 2: the prompt has 2 tokens"),
        ([1, 2], [-3], "no position -3"),
    ],
)
def test_bad_prompts(model: Transformer, given: list[int], positions: list[int] | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        logit_lens(model, given, positions)
