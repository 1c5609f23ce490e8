"""Training state comes back to the bit, whatever its dtype or memory layout."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from glasshouse.checkpoint import TrainingState, load_training_state
from glasshouse.core.errors import CheckpointError

Save = Callable[..., Path]


def test_tensors_and_values_come_back(save: Save) -> None:
    stack = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    tensors = {
        "step": torch.tensor(7.0),
        "a view": stack[1],
        "the same memory": stack[1],
        "transposed": stack[0].T,
        "half": stack[2].bfloat16(),
        "random": torch.get_rng_state(),
        "empty": torch.zeros(0, 3),
        "count": torch.tensor([2**40]),
    }
    values = {"cursor": {"epoch": 1, "index": 12}, "losses": [0.5, None], "name": "é"}
    state = load_training_state(save(training_state=TrainingState(tensors, values)))
    assert state.values == values
    assert state.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert state.tensors[name].dtype == tensor.dtype
        assert torch.equal(state.tensors[name], tensor), name


def test_no_tensors_is_fine(save: Save) -> None:
    state = load_training_state(save(training_state=TrainingState({}, {"step": 1})))
    assert state == TrainingState({}, {"step": 1})


def test_a_value_json_cannot_say_is_refused(save: Save, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="JSON cannot say"):
        save(training_state=TrainingState({}, {"generator": object()}))
    assert list(tmp_path.iterdir()) == []


def test_damaged_state_is_named(save: Save) -> None:
    folder = save(training_state=TrainingState({"m": torch.ones(4)}, {}))
    path = folder / "glasshouse/training_state.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match=r"training_state\.safetensors"):
        load_training_state(folder)
