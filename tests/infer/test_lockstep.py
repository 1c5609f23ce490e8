"""Sampling in lockstep gives what the engine gives, to the bit."""

import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.infer import Engine, SamplingConfig
from glasshouse.infer.lockstep import blocks_needed, sample_together
from glasshouse.infer.native import best_runner
from glasshouse.infer.runner import TorchRunner
from glasshouse.model import Transformer
from glasshouse.tokenizer import Tokenizer


@pytest.mark.parametrize("kind", ["best", "torch"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_equals_the_engine(
    model: Transformer, tokenizer: Tokenizer, prompts: list[list[int]], kind: str, temperature: float
) -> None:
    """Prompts of many lengths (one fills its block exactly), answers that end early, late and at the context's end."""
    asked = [*prompts, list(range(20, 36)), list(range(60))]
    n_answers, max_tokens = 3, 20
    seeds = [100 + b for b in range(len(asked) * n_answers)]
    n_blocks = blocks_needed(asked, n_answers, max_tokens, 16)
    runner = best_runner(model, n_blocks=n_blocks) if kind == "best" else TorchRunner(model, n_blocks)
    common = set(range(40, 60))  # so that some answers end
    found = sample_together(
        runner, tokenizer, asked, seeds, max_tokens=max_tokens, temperature=temperature,
        max_seq_len=model.config.max_seq_len, end_ids={*tokenizer.end_ids, *common},
    )  # fmt: skip
    other = best_runner(model, n_blocks=400) if kind == "best" else None
    settings = [
        SamplingConfig(
            temperature=temperature, max_tokens=max_tokens, seed=seed, scales_logps=True, stop_ids=tuple(common)
        )
        for seed in seeds
    ]
    expected = Engine(model, tokenizer, runner=other).generate([ids for ids in asked for _ in range(3)], settings)
    assert [c.ids for c in found] == [c.ids for c in expected]
    assert [c.logps for c in found] == [c.logps for c in expected]
    assert [(c.text, c.finish_reason) for c in found] == [(c.text, c.finish_reason) for c in expected]
    assert {c.finish_reason for c in found} == {"stop", "length"}


def test_refuses_what_does_not_fit(model: Transformer, tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="blocks of memory"):
        sample_together(
            TorchRunner(model, 1), tokenizer, [[1, 2], [3]], [1, 2], max_tokens=40, temperature=1.0, max_seq_len=64,
            end_ids=(),
        )  # fmt: skip
