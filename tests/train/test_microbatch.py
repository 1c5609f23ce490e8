import json

import pytest
import tiny
import torch

from glasshouse.core.errors import TrainingError
from glasshouse.model import ModelConfig, training_bytes
from glasshouse.train import trainer as trainer_module
from glasshouse.train.microbatch import fit_microbatch, is_out_of_memory, promising_microbatch

SHAPE = ModelConfig(
    vocab_size=1000, d_model=64, n_layers=2, n_heads=2, n_kv_heads=2, d_head=32, d_ff=128, max_seq_len=64
)


def refusing(limit, tried):
    def attempt(tokens):
        tried.append(tokens)
        if tokens > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")

    return attempt


def test_it_is_halved_until_it_fits():
    tried: list[int] = []
    assert fit_microbatch(refusing(300, tried), 1024, 64) == 256
    assert tried == [1024, 512, 256]


def test_less_than_a_row_is_not_tried():
    tried: list[int] = []
    with pytest.raises(TrainingError, match=r"64 tokens at once do not fit in memory .*one row of seq_len is 64"):
        fit_microbatch(refusing(10, tried), 100, 64)
    assert tried == [100, 64]


def test_other_errors_are_not_taken_for_want_of_memory():
    def attempt(tokens):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        fit_microbatch(attempt, 100, 64)


def test_the_real_error_of_the_cpu_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_an_estimate_beyond_the_memory_is_not_tried():
    room = int(training_bytes(SHAPE, 16384, 5000))
    assert promising_microbatch(SHAPE, 16384, 64, room) == 4096
    assert promising_microbatch(SHAPE, 16384, 64, 0) == 64


def test_training_finds_it_once_and_the_result_is_the_same(tmp_path, monkeypatch):
    whole = tiny.trainer_of(tmp_path / "whole", tiny.config_of(steps=8))
    whole.fit()
    found = tiny.trainer_of(tmp_path / "found", tiny.config_of(steps=8, microbatch_tokens="auto"))
    real = trainer_module.add_gradient

    def short_of_memory(*args, microbatch_tokens, **kwargs):
        if microbatch_tokens is None or microbatch_tokens > 32:
            raise torch.OutOfMemoryError("out of memory")
        return real(*args, microbatch_tokens=microbatch_tokens, **kwargs)

    monkeypatch.setattr(trainer_module, "add_gradient", short_of_memory)
    found.fit()
    assert json.loads((tmp_path / "found/run/pretrain/microbatch.json").read_text()) == {"tokens": 32}
    for name, weight in tiny.weights(tmp_path / "whole").items():
        assert (tiny.weights(tmp_path / "found")[name] - weight).abs().max() < 1e-5
