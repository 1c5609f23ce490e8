from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from glasshouse.align import ValueHead
from glasshouse.core.errors import CheckpointError


def test_starts_at_zero_and_comes_back_equal(tmp_path: Path) -> None:
    head = ValueHead(8)
    hidden = torch.randn(2, 3, 8)
    assert head(hidden).shape == (2, 3) and not head(hidden).any()
    with torch.no_grad():
        head.weight.normal_()
        head.bias.fill_(2.0)
    head.save(tmp_path / "head.safetensors")
    assert torch.equal(ValueHead.load(tmp_path / "head.safetensors")(hidden), head(hidden))


def test_refuses_another_file(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(3)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not a value head"):
        ValueHead.load(tmp_path / "other.safetensors")
