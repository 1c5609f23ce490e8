import pytest
import torch

from glasshouse.infer import Engine, SamplingConfig
from glasshouse.infer.runner import TorchRunner
from glasshouse.infer.speculate import DraftModel, PromptLookup, _Index

SETTINGS = {
    "greedy": SamplingConfig(max_tokens=14),
    "sampled": SamplingConfig(max_tokens=14, temperature=0.7, seed=2),
    "penalised": SamplingConfig(max_tokens=14, frequency_penalty=0.5, temperature=0.5, seed=1),
}


def drafter(kind, model, tokenizer):
    if kind == "lookup":
        return PromptLookup(lengths=(2, 1))
    return DraftModel(TorchRunner(model, n_blocks=64), tokenizer.vocab_size, n_drafts=3)


@pytest.mark.parametrize("kind", ["lookup", "model"])
@pytest.mark.parametrize("name", SETTINGS)
def test_no_token_changes(model, tokenizer, prompts, kind, name):
    repeating = [p * 3 for p in prompts if len(p) < 12][:4]
    expected = Engine(model, tokenizer).generate(repeating, SETTINGS[name])
    engine = Engine(model, tokenizer, drafter=drafter(kind, model, tokenizer))
    assert [c.ids for c in engine.generate(repeating, SETTINGS[name])] == [c.ids for c in expected]
    stats = engine.stats()
    assert stats.n_drafted_tokens > 0 and stats.n_used_blocks == 0
    if kind == "model" and name == "greedy":  # it guesses with the model itself
        assert stats.n_accepted_tokens == stats.n_drafted_tokens
        assert stats.n_steps < 14


def test_distribution_of_sampled_tokens_is_the_models(model, tokenizer, prompts):
    """Chi-square of the second token over many seeds, guessed by a drafter that is often right."""
    prompt, n = prompts[0], 600
    engine = Engine(model, tokenizer, drafter=DraftModel(TorchRunner(model, n_blocks=256), tokenizer.vocab_size))
    configs = [SamplingConfig(max_tokens=2, temperature=0.6, seed=seed, logit_bias={5: 3.0}) for seed in range(n)]
    drawn = [c.ids for c in engine.generate([prompt] * n, configs)]
    first = max({ids[0] for ids in drawn}, key=[ids[0] for ids in drawn].count)
    seconds = torch.tensor([ids[1] for ids in drawn if ids[0] == first and len(ids) > 1])
    with torch.no_grad():
        logits_V = model(torch.tensor([[*prompt, first]]))[0, -1, : tokenizer.vocab_size]
    logits_V[5] += 3.0
    expected_V = (logits_V / 0.6).softmax(0) * len(seconds)
    counts_V = torch.bincount(seconds, minlength=len(expected_V)).float()
    common = expected_V >= 5
    observed = torch.cat((counts_V[common], counts_V[~common].sum()[None]))
    expected = torch.cat((expected_V[common], expected_V[~common].sum()[None]))
    chi_square = float(((observed - expected) ** 2 / expected.clamp(min=1)).sum())
    assert chi_square < len(observed) + 5 * (2 * len(observed)) ** 0.5 + 5


def test_lookup_takes_the_latest_longest():
    index = _Index((2, 1))
    assert index.following([1, 2, 3, 9, 2, 4, 1, 2], 2) == [3, 9]
    assert index.following([1, 2, 3, 9, 2, 4, 1, 2, 7, 2], 3) == [7, 2]
    assert _Index((2,)).following([1, 2, 3], 2) == []
