import pytest
import torch

from glasshouse.core.errors import ConfigError
from glasshouse.explain import attention_patterns, head_scores
from glasshouse.model import Transformer


def test_rows_sum_to_one_and_nobody_looks_ahead(model: Transformer, ids: list[int]) -> None:
    pattern_LNTS = attention_patterns(model, ids)
    assert pattern_LNTS.shape == (model.config.n_layers, model.config.n_heads, len(ids), len(ids))
    torch.testing.assert_close(pattern_LNTS.sum(-1), torch.ones(pattern_LNTS.shape[:-1]))
    assert pattern_LNTS.triu(1).abs().max() == 0
    torch.testing.assert_close(attention_patterns(model, ids, 1), pattern_LNTS[1:2])
    with pytest.raises(ConfigError, match="no layer 3"):
        attention_patterns(model, ids, 3)


def test_planted_heads_are_recognised(planted: Transformer) -> None:
    scores = head_scores(planted, period=10)
    assert scores.previous_LN[0, 0] > 0.95 and scores.induction_LN[1, 0] > 0.5
    others = torch.tensor([[False, True], [True, True]])
    assert scores.previous_LN[others].max() < 0.3
    assert scores.induction_LN[~torch.tensor([[False, False], [True, False]])].max() < 0.2
    assert scores.duplicate_LN.max() < 0.2


def test_scores_are_means_over_the_named_places(model: Transformer) -> None:
    """Against a loop over places, for one sequence that the test can see: a period that repeats its only token."""
    scores, period = head_scores(model, n_sequences=1, period=5, seed=3), 5
    from glasshouse.core.seeds import derive_seed

    generator = torch.Generator().manual_seed(derive_seed(3, "head_scores"))
    once = torch.randint(0, model.config.vocab_size, (1, period), generator=generator)[0].tolist()
    pattern = attention_patterns(model, once + once)
    for layer in range(model.config.n_layers):
        for head in range(model.config.n_heads):
            of = pattern[layer, head]
            previous = sum(float(of[t, t - 1]) for t in range(1, 10)) / 9
            duplicate = sum(float(of[t, t - period]) for t in range(period, 10)) / period
            induction = sum(float(of[t, t - period + 1]) for t in range(period, 10)) / period
            assert scores.previous_LN[layer, head] == pytest.approx(previous, abs=1e-6)
            assert scores.duplicate_LN[layer, head] == pytest.approx(duplicate, abs=1e-6)
            assert scores.induction_LN[layer, head] == pytest.approx(induction, abs=1e-6)


def test_a_period_that_does_not_fit(model: Transformer) -> None:
    with pytest.raises(ConfigError, match=r"from 2 to half the context \(24\); got 25"):
        head_scores(model, period=25)
