"""The formula against what tensors really hold, and against the memory of a real training process."""

import sys
from pathlib import Path

import pytest
import torch

from glasshouse.batch import LMBatch
from glasshouse.model import Keeps, ModelConfig, Transformer
from glasshouse.model.memory import backward_bytes, muon_bytes, training_bytes
from glasshouse.objective import lm_loss
from glasshouse.optim import OptimConfig, build_optimizer
from glasshouse.plan.dry_run import Trace
from glasshouse.plan.shape import shape_of_width
from glasshouse.train.recomputing import recompute

SHAPES = [(64, 4096, 2048), (160, 4096, 4096), (256, 1024, 2048)]


def traced(shape: ModelConfig, n_tokens: int, recomputed: float = 0.0, keeps: Keeps = "input") -> tuple[int, int, int]:
    """Bytes that tensors hold: at most in the backward pass, at most in the optimizer, and between."""
    with Trace() as trace:
        model = Transformer(shape)
        model.kernels = "torch"
        recompute(model, recomputed, keeps)
        optimizer = build_optimizer(model, OptimConfig())
        ids_BT = torch.zeros((n_tokens // 256, 256), dtype=torch.long)
        for _ in range(2):
            trace.start()
            lm_loss(model, LMBatch(ids_BT, ids_BT)).loss_sum.backward()
            backward = trace.lap()
            optimizer.step()
            step = trace.lap()
            optimizer.zero_grad()
    return backward, step, trace.live


@pytest.mark.parametrize(("width", "vocab_size", "n_tokens"), SHAPES)
def test_the_formula_counts_what_tensors_hold(width: int, vocab_size: int, n_tokens: int) -> None:
    shape = shape_of_width(width, vocab_size, 256)
    backward, step, lasting = traced(shape, n_tokens)
    assert backward_bytes(shape, n_tokens, "torch", True) == pytest.approx(backward, rel=0.1)
    gradients = 4 * sum(p.numel() for p in Transformer(shape, seed=None).parameters())
    assert muon_bytes(shape) == pytest.approx(step - lasting - gradients, rel=0.1)


@pytest.mark.parametrize(("share", "keeps"), [(0.5, "input"), (1.0, "input"), (1.0, "products")])
def test_what_layers_that_are_computed_again_keep(share: float, keeps: Keeps) -> None:
    shape = shape_of_width(160, 1024, 256)
    backward, _, _ = traced(shape, 4096, share, keeps)
    predicted = backward_bytes(shape, 4096, "torch", True, share, keeps)
    assert 0.98 * backward < predicted < 1.2 * backward  # of a layer computed again not all is there at once
    assert backward < traced(shape, 4096)[0]


def test_more_tokens_a_larger_vocabulary_and_adamw_take_more() -> None:
    shape = shape_of_width(160, 4096, 256)
    base = training_bytes(shape, 4096, 4096)
    assert training_bytes(shape, 8192, 8192) > 1.7 * base
    assert training_bytes(shape_of_width(160, 32768, 256), 4096, 4096) > base
    assert training_bytes(shape, 8192, 4096) < training_bytes(shape, 8192, 8192)
    native = training_bytes(shape, 4096, 4096, path="native")
    assert training_bytes(shape, 4096, 4096, path="native-bf16") < native < base


@pytest.mark.slow
@pytest.mark.parametrize("way", ["torch kernels", "native kernels", "native kernels in bf16"])
def test_the_process_s_peak_is_foretold(way: str) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
    import training_memory

    if way not in training_memory.WAYS:
        pytest.skip("this processor does not multiply bf16")
    for row in training_memory.measure_all(training_memory.HELD_OUT, training_memory.WAYS[way]):
        assert abs(row.error) < 0.1, row
