import numpy as np
import pytest
import torch

from glasshouse.core.errors import ConfigError, DataError
from glasshouse.explain import Windows, neuron_strength, top_passages
from glasshouse.model import Transformer

from .planted import FACT, FACT_NEURON


def test_a_planted_neuron_is_found_where_its_token_stands(planted: Transformer) -> None:
    ids = np.random.default_rng(0).integers(0, 16, 16 * 30)
    ids[[40, 200, 333]] = FACT
    found = top_passages(Windows(ids, 16), neuron_strength(planted, 0, [FACT_NEURON, 0]), k=5)
    assert [p.ids[p.at] for p in found[0]] == [FACT] * 3  # and nothing else: others are not above zero
    assert found[1] == []


def test_the_strongest_against_a_loop(model: Transformer) -> None:
    ids = np.random.default_rng(1).integers(0, 61, 12 * 40)
    windows, strength = Windows(ids, 12), neuron_strength(model, 1, [0, 7, 30])
    found = top_passages(windows, strength, k=4, n_at_once=7)
    every = strength(torch.from_numpy(ids.reshape(40, 12))).detach().max(1).values  # (window, unit)
    for u, passages in enumerate(found):
        expected = every[:, u].sort(descending=True).values[:4]
        np.testing.assert_allclose([p.strength for p in passages], expected.clamp(min=0)[expected > 0], atol=1e-3)


def test_windows_are_held_out_and_drawn_by_seed() -> None:
    windows = Windows(np.arange(205), 10)
    assert windows.n_windows == 20 and windows.n_train == 18
    assert torch.equal(windows.draw(3, 4, 1), windows.draw(3, 4, 1))
    assert not torch.equal(windows.draw(3, 4, 1), windows.draw(4, 4, 1))
    assert max(int(windows.draw(s, 8, 0).max()) for s in range(20)) < 180
    assert torch.cat(list(windows.held_out(1, 1000))).flatten().tolist() == list(range(180, 200))
    assert sum(len(ids_BT) for _, ids_BT in windows.all(3, max_tokens=100)) == 10  # every second one


def test_bad_input(model: Transformer) -> None:
    with pytest.raises(DataError, match="19 tokens; at least 20"):
        Windows(np.arange(19), 10)
    with pytest.raises(ConfigError, match="no layer 3"):
        neuron_strength(model, 3, [0])
