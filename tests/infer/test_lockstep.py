"""Sampling in lockstep gives what the engine gives, to the bit."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from glasshouse.core.errors import CheckpointError, ConfigError
from glasshouse.infer import Engine, SamplingConfig
from glasshouse.infer.decoding import decode
from glasshouse.infer.lockstep import blocks_needed, sample_together
from glasshouse.infer.native import best_runner, why_unavailable
from glasshouse.infer.native.runner import NativeRunner
from glasshouse.infer.runner import Decoding, TorchRunner
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


def test_the_native_loop_gives_the_same_bits_as_the_loop_in_steps(
    model: Transformer, tokenizer: Tokenizer, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if why_unavailable():
        pytest.skip("no compiler")
    settings = {"max_tokens": 20, "temperature": 0.8, "max_seq_len": model.config.max_seq_len, "end_ids": range(9)}
    n_blocks = blocks_needed(prompts, 4, 20, 16)
    seeds = list(range(4 * len(prompts)))
    native = NativeRunner.of_model(model, n_blocks=n_blocks)
    found = sample_together(native, tokenizer, prompts, seeds, **settings)
    monkeypatch.setattr(NativeRunner, "decode", lambda self, logits_BV, said: decode(self, logits_BV, said))
    assert sample_together(native, tokenizer, prompts, seeds, **settings) == found


@pytest.mark.parametrize("kind", ["best", "torch"])
def test_damaged_weights_are_said_to_be_damaged(model: Transformer, tokenizer: Tokenizer, kind: str) -> None:
    damaged = deepcopy(model)
    with torch.no_grad():
        next(damaged.parameters()).fill_(torch.nan)
    runner = best_runner(damaged, n_blocks=9) if kind == "best" else TorchRunner(damaged, 9)
    with pytest.raises(CheckpointError, match="not a number"):
        sample_together(
            runner, tokenizer, [[1, 2]], [1, 2], max_tokens=4, temperature=1.0, max_seq_len=64, end_ids=()
        )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table_BP": np.full((2, 3), 7, np.int32)}, "table_BP"),
        ({"start_B": np.array([3, 60])}, "start_B"),
        ({"limit_B": np.array([4, 9])}, "limit_B"),
        ({"uniform_BT": np.zeros((2, 8), np.float32)}, "uniform_BT"),
        ({"temperature": 0.0}, "temperature"),
        ({"n_ids": 10**6}, "n_ids"),
    ],
)
def test_nothing_wrong_reaches_the_native_loop(model: Transformer, change: dict[str, object], message: str) -> None:
    if why_unavailable():
        pytest.skip("no compiler")
    good = Decoding(
        n_ids=9, temperature=1.0, end_ids=(), uniform_BT=np.zeros((2, 8)), start_B=np.array([3, 5]),
        limit_B=np.array([8, 8]), table_BP=np.zeros((2, 3), np.int32), ids_BT=np.zeros((2, 8), np.int64),
        logp_BT=np.zeros((2, 8), np.float32), n_tokens_B=np.zeros(2, np.int64), is_ended_B=np.zeros(2, np.bool_),
    )  # fmt: skip
    runner = NativeRunner.of_model(model, n_blocks=7)
    with pytest.raises(ConfigError, match=message):
        runner.decode(torch.zeros(2, model.config.vocab_size), replace(good, **change))
