import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from glasshouse.core.config import parse_config
from glasshouse.core.errors import ConfigError
from glasshouse.infer import sampling
from glasshouse.infer.sampler import Choice, choose, shape_logits
from glasshouse.infer.sampling import (
    LogProbabilities,
    SamplingConfig,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalise_counts,
    penalise_repetition,
    scale_by_temperature,
    uniform,
    uniforms,
)

VOCAB = 200


@pytest.fixture(scope="module")
def logits_BV() -> torch.Tensor:
    return torch.randn(6, VOCAB, generator=torch.Generator().manual_seed(0)) * 3


def rows(value: float) -> torch.Tensor:
    return torch.full((6,), value)


@pytest.mark.parametrize("k", [1, 7, VOCAB])
def test_top_k_equals_transformers(logits_BV, k):
    theirs = TopKLogitsWarper(k)(None, logits_BV.clone())
    assert torch.equal(keep_top_k(logits_BV, rows(k).long()), theirs)


def test_top_k_keeps_equals_at_the_edge_and_reaches_beyond_the_vocabulary():
    logits_BV = torch.tensor([[3.0, 1.0, 1.0, 0.0]])
    assert torch.isfinite(keep_top_k(logits_BV, torch.tensor([2]))).tolist() == [[True, True, True, False]]
    assert torch.isfinite(keep_top_k(logits_BV, torch.tensor([99]))).all()


@pytest.mark.parametrize("p", [0.01, 0.5, 0.9, 0.999])
def test_top_p_equals_transformers(logits_BV, p):
    assert torch.equal(keep_top_p(logits_BV, rows(p)), TopPLogitsWarper(p)(None, logits_BV.clone()))


def test_top_p_keeps_the_fewest_that_reach_p():
    logits_BV = torch.tensor([[0.5, 0.3, 0.2]]).log()
    assert torch.isfinite(keep_top_p(logits_BV, torch.tensor([0.6]))).tolist() == [[True, True, False]]
    assert torch.isfinite(keep_top_p(logits_BV, torch.tensor([1.0]))).all()


@pytest.mark.parametrize("p", [0.01, 0.2, 1.0])
def test_min_p_equals_transformers(logits_BV, p):
    assert torch.equal(keep_min_p(logits_BV, rows(p)), MinPLogitsWarper(p)(None, logits_BV.clone()))


@pytest.mark.parametrize("penalty", [0.7, 1.3])
def test_repetition_penalty_equals_transformers(logits_BV, penalty):
    seen = torch.randint(0, VOCAB, (6, 20), generator=torch.Generator().manual_seed(1))
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(seen, logits_BV.clone())
    seen_BV = torch.zeros(6, VOCAB, dtype=torch.bool).scatter_(1, seen, True)
    torch.testing.assert_close(penalise_repetition(logits_BV, seen_BV, rows(penalty)), theirs)


def test_all_settings_together_equal_transformers_in_its_order(logits_BV):
    seen = torch.randint(0, VOCAB, (6, 20), generator=torch.Generator().manual_seed(1))
    config = SamplingConfig(temperature=0.8, top_k=40, top_p=0.9, min_p=0.02, repetition_penalty=1.2)
    theirs = logits_BV.clone()
    for step in (
        RepetitionPenaltyLogitsProcessor(1.2), TemperatureLogitsWarper(0.8), TopKLogitsWarper(40),
        TopPLogitsWarper(0.9), MinPLogitsWarper(0.02),
    ):  # fmt: skip
        theirs = step(seen, theirs)
    ours = shape_logits(logits_BV, [Choice(config, prompt, VOCAB) for prompt in seen.tolist()])
    torch.testing.assert_close(ours.softmax(1), theirs.softmax(1))


def test_rows_keep_their_own_settings(logits_BV):
    configs = [SamplingConfig(), SamplingConfig(temperature=1, top_k=3, seed=1), SamplingConfig(temperature=1, min_p=1)]
    choices = [Choice(config, [0], VOCAB) for config in configs]
    kept = torch.isfinite(shape_logits(logits_BV[:3], choices)).sum(1).tolist()
    assert kept == [VOCAB, 3, 1]
    assert choose(logits_BV[:3], choices)[[0, 2]].tolist() == logits_BV[[0, 2]].argmax(1).tolist()


def test_what_is_drawn_does_not_depend_on_the_other_rows(logits_BV):
    configs = [SamplingConfig(temperature=1, seed=s, repetition_penalty=1.5) for s in range(6)]
    choices = [Choice(config, [1], VOCAB) for config in configs]
    whole = choose(logits_BV, choices)
    assert torch.equal(whole[[4, 2]], choose(logits_BV[[4, 2]], [choices[4], choices[2]]))


def test_presence_and_frequency_penalties_are_openais():
    count_BV = torch.tensor([[0.0, 1.0, 3.0]])
    lowered = penalise_counts(torch.zeros(1, 3), count_BV, torch.tensor([0.5]), torch.tensor([0.2]))
    torch.testing.assert_close(lowered, torch.tensor([[0.0, -0.7, -1.1]]))


def test_bias_and_mask(logits_BV):
    choice = Choice(SamplingConfig(logit_bias={3: 100.0, 4: -100.0}), [0], VOCAB)
    assert choose(logits_BV[:1], [choice]).tolist() == [3]
    mask = torch.zeros(VOCAB, dtype=torch.bool)
    mask[4] = True
    assert choose(logits_BV[:1], [choice], [mask]).tolist() == [4]


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 40))
def test_one_uniform_is_that_of_the_table(seed, index):
    assert uniform(seed, index) == uniforms([seed], index + 1)[0, index]


def test_temperature_zero_row_is_left_alone():
    logits_BV = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    assert scale_by_temperature(logits_BV, torch.tensor([0.0, 0.5])).tolist() == [[1.0, 2.0], [2.0, 4.0]]


def test_draw_follows_the_probabilities():
    p = torch.tensor([0.5, 0.0, 0.3, 0.2])
    n = 20_000
    u = torch.from_numpy(uniforms(range(n), 1)[:, 0])
    counts = torch.bincount(draw(p.log().expand(n, 4), u), minlength=4)
    assert counts[1] == 0
    # Four standard errors of a share of one half.
    assert np.abs(counts.numpy() / n - p.numpy()).max() < 4 * math.sqrt(0.25 / n)


@given(st.lists(st.integers(-30, 30), min_size=2, max_size=50), st.sampled_from([0.0, 0.3, 1 - 2.0**-48]))
def test_draw_never_takes_a_dropped_token(logits, u):
    row = torch.tensor([logits], dtype=torch.float32)
    row[0, 0] = row[0, -1] = -torch.inf
    if torch.isfinite(row).any():
        assert torch.isfinite(row[0, draw(row, torch.tensor([u], dtype=torch.float64))[0]])


@pytest.mark.parametrize("n_ids", [1, 7, 16, 1000])
def test_native_and_torch_draw_from_the_same_distribution(n_ids, monkeypatch):
    logits_BV = 30 * torch.randn(200, n_ids, generator=torch.Generator().manual_seed(n_ids))
    logits_BV[:, 3::5] = -torch.inf
    u = torch.from_numpy(uniforms(range(200), 1)[:, 0])
    rows = list(range(200))
    ids, found = draw(logits_BV, u), LogProbabilities(logits_BV)
    logps = found.of(ids, rows)
    torch.testing.assert_close(torch.stack([found.row(row) for row in rows]), logits_BV.log_softmax(dim=1))
    assert torch.equal(logps, torch.stack([found.row(row)[ids[row]] for row in rows]))
    monkeypatch.setattr(sampling, "is_native", lambda _: False)
    assert torch.equal(draw(logits_BV, u), ids)
    torch.testing.assert_close(LogProbabilities(logits_BV).of(ids, rows), logps, rtol=0, atol=1e-7)


def test_uniforms_depend_on_seed_and_index_only():
    table = uniforms([1, 2, -7], 50)
    assert np.array_equal(table[1], uniforms([2], 50)[0])
    assert np.array_equal(table[:, :10], uniforms([1, 2, -7], 10))
    assert len(np.unique(table)) == table.size
    assert table.min() >= 0 and table.max() < 1
    many = uniforms(range(100), 1000)
    assert abs(many.mean() - 0.5) < 0.005 and abs(many.var() - 1 / 12) < 0.002
    assert abs(np.corrcoef(many[:, 0], many[:, 1])[0, 1]) < 0.4
    assert abs(np.corrcoef(many[0], many[1])[0, 1]) < 0.13


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": -1}, {"temperature": math.nan}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.1}, {"min_p": 2},
        {"presence_penalty": 3}, {"frequency_penalty": -3}, {"logit_bias": {1: 200}}, {"n_logprobs": 21},
        {"repetition_penalty": 0}, {"max_tokens": 0}, {"stop": ("",)}, {"stop": "END"}, {"temprature": 1},
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_by_name(values):
    [key] = values
    with pytest.raises(ConfigError, match=key):
        SamplingConfig.of(**values)


def test_refusal_says_what_is_allowed_with_the_line_of_the_recipe():
    with pytest.raises(ConfigError, match=r'r\.toml:2: "top_p".*above 0 and up to 1.*given: 7'):
        parse_config(SamplingConfig, {"top_p": 7}, "r.toml", "temperature = 1\ntop_p = 7\n")


@pytest.mark.parametrize("temperature", [5e-324, 1e-40, 1e-38, 1e-20, 1e-6])
@pytest.mark.parametrize("penalty", [1.4e-45, 1e-37, 1.0, 100.0])
def test_absurdly_small_settings_are_nearly_greedy_and_never_leave_the_vocabulary(
    temperature: float, penalty: float
) -> None:
    config = SamplingConfig(temperature=temperature, repetition_penalty=penalty, seed=3, top_p=0.9)
    logits_RV = torch.tensor([[-3.0, 2.0, 9.0, -4.0]])
    for mask_V in (None, torch.tensor([True, True, True, False])):
        ids_R = choose(logits_RV, [Choice(config, [2, 3], 4)], [mask_V])
        assert ids_R.tolist() == ([2] if penalty <= 1 else [1])
