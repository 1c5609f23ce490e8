"""A token's logits have the same bits however it is computed: alone, in a crowd, in pieces, by decoding."""

import random

import numpy as np
import pytest
import torch

from glasshouse.infer.runner import StepBatch, TorchRunner
from glasshouse.infer.stable import RowStable
from glasshouse.model import ModelConfig, Transformer

LENGTH, N_BLOCKS = 90, 6
SHAPES = {
    "grouped": {"n_heads": 4, "n_kv_heads": 2, "d_head": 16, "d_ff": 96},
    "odd": {"n_heads": 3, "n_kv_heads": 1, "d_head": 32, "d_ff": 99},
    "ungrouped": {"n_heads": 2, "n_kv_heads": 2, "d_head": 64, "d_ff": 160},
}


class Crowd:
    """A runner in which sequence n owns blocks n * N_BLOCKS onwards."""

    def __init__(self, model):
        self.runner = TorchRunner(model, 12 * N_BLOCKS)

    def run(self, *pieces):
        """Logits of all tokens of (sequence, first position, ids)."""
        table = np.array([np.arange(n * N_BLOCKS, (n + 1) * N_BLOCKS) for n, _, _ in pieces], dtype=np.int32)
        position = [at + i for _, at, ids in pieces for i in range(len(ids))]
        sequence = [r for r, (_, _, ids) in enumerate(pieces) for _ in ids]
        length = [at + len(ids) for _, at, ids in pieces]
        ids = [i for _, _, ids in pieces for i in ids]
        return self.runner.run(
            StepBatch(*map(torch.tensor, (ids, position, sequence)), torch.from_numpy(table), torch.tensor(length),
                      torch.arange(len(ids)))
        )  # fmt: skip


@pytest.fixture(params=[1, 2])
def n_threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_have_the_same_bits(shape, n_threads):
    config = ModelConfig(vocab_size=300, d_model=44, n_layers=2, max_seq_len=96, **SHAPES[shape])
    model, rng = Transformer(config, seed=0).eval(), random.Random(0)
    ids = [rng.randrange(300) for _ in range(LENGTH)]
    whole = Crowd(model).run((0, 0, ids))
    with torch.no_grad():
        torch.testing.assert_close(whole, model(torch.tensor([ids]))[0], atol=1e-5, rtol=1e-5)
    decoder = Crowd(model)
    assert torch.equal(torch.cat([decoder.run((0, at, ids[at : at + 1])) for at in range(LENGTH)]), whole)
    crowd, others = Crowd(model), [[rng.randrange(300) for _ in range(rng.randrange(2, 80))] for _ in range(11)]
    crowd.run(*((n + 1, 0, o) for n, o in enumerate(others)))
    at = 0
    while at < LENGTH:
        piece = ids[at : at + rng.choice([1, 2, 7, 16, 33])]
        beside = [(n + 1, len(o), [5]) for n, o in enumerate(others)][: rng.randrange(12)]
        assert torch.equal(crowd.run(*beside, (0, at, piece))[-len(piece) :], whole[at : at + len(piece)])
        at += len(piece)


def test_rows_of_a_linear_layer(n_threads):
    layer = torch.nn.Linear(576, 192, bias=False)
    x = torch.randn(150, 576)
    with torch.no_grad(), RowStable():
        whole = layer(x)
        assert all(torch.equal(layer(x[:n]), whole[:n]) for n in (1, 2, 15, 16, 33, 100))
        assert torch.equal(layer(x[149:]), whole[149:])
    torch.testing.assert_close(whole, x @ layer.weight.T, atol=1e-5, rtol=1e-4)
