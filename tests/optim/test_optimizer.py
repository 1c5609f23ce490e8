import json

import pytest
import torch

from glasshouse.core.errors import CheckpointError
from glasshouse.model import ModelConfig, Transformer
from glasshouse.optim import OptimConfig, build_optimizer

CONFIG = ModelConfig(vocab_size=40, d_model=16, n_layers=2, n_heads=2, n_kv_heads=1, d_head=8, d_ff=24, max_seq_len=8)


def train(model, optimizer, steps, start=0):
    for step in range(start, start + steps):
        g = torch.Generator().manual_seed(step)
        ids = torch.randint(40, (2, 8), generator=g)
        torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
        optimizer.set_factor(1 / (step + 1))
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("matrices", ["muon", "adamw"])
def test_state_out_and_in_is_exact(matrices):
    config = OptimConfig(matrices=matrices, weight_decay=0.01)
    model = Transformer(CONFIG, seed=1)
    optimizer = build_optimizer(model, config)
    train(model, optimizer, 3)
    tensors, values = optimizer.state()
    stored = {k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(values))
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    train(model, optimizer, 3, start=3)

    other = Transformer(CONFIG, seed=2)
    other.load_state_dict(weights)
    resumed = build_optimizer(other, config)
    resumed.load_state(*stored)
    train(other, resumed, 3, start=3)
    for name, value in model.state_dict().items():
        assert other.state_dict()[name].equal(value), name
    # and without the state it is another trajectory, so the test can fail
    other.load_state_dict(weights)
    train(other, build_optimizer(other, config), 3, start=3)
    assert not all(other.state_dict()[n].equal(v) for n, v in model.state_dict().items())


def test_loading_does_not_alias_what_it_was_given():
    model = Transformer(CONFIG, seed=1)
    optimizer = build_optimizer(model, OptimConfig())
    train(model, optimizer, 1)
    tensors, values = optimizer.state()
    stored = {k: v.clone() for k, v in tensors.items()}
    kept = {k: v.clone() for k, v in stored.items()}
    resumed = build_optimizer(model, OptimConfig())
    resumed.load_state(stored, values)
    train(model, resumed, 2)
    assert all(stored[k].equal(kept[k]) for k in kept)


def test_the_factor_scales_every_peak():
    optimizer = build_optimizer(Transformer(CONFIG), OptimConfig(matrix_lr=0.5, embedding_lr=0.25, vector_lr=0.125))
    for factor in (1.0, 0.5, 0.1):
        optimizer.set_factor(factor)
        rates = [group["lr"] for o in optimizer.optimizers for group in o.param_groups]
        assert rates == [0.5 * factor, 0.25 * factor, 0.125 * factor]


def test_foreign_state_is_refused():
    optimizer = build_optimizer(Transformer(CONFIG), OptimConfig())
    with pytest.raises(CheckpointError, match=r"layers\.9.*lack"):
        optimizer.load_state({"optim/model.layers.9.w/exp_avg": torch.zeros(2)}, {})
    optimizer.load_state({"rng/cpu": torch.zeros(2)}, {"state": {}})


def test_adamw_equals_its_equation():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    model = torch.nn.ParameterList([weight])
    optimizer = build_optimizer(model, OptimConfig(vector_lr=0.1, beta1=0.9, beta2=0.95, eps=1e-8))
    m, v, expected = torch.zeros(2), torch.zeros(2), weight.detach().clone()
    for t in range(1, 4):
        grad = torch.tensor([0.3 * t, -1.0])
        weight.grad = grad.clone()
        optimizer.set_factor(1.0)
        optimizer.step()
        m, v = 0.9 * m + 0.1 * grad, 0.95 * v + 0.05 * grad**2
        expected -= 0.1 * (m / (1 - 0.9**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
    torch.testing.assert_close(weight.detach(), expected)
