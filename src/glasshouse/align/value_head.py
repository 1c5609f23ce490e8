"""What a prompt and the answer so far are worth: one number a position, read from the policy's hidden states.

Shapes: B rows, T positions, D model.  Units: rewards.
It starts at zero, is trained with the policy (its vectors by AdamW at `vector_lr`), and is saved in a file of its own:
the policy's checkpoint stays what every other tool knows.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from glasshouse.checkpoint.weights import read_tensors, write_tensors
from glasshouse.core.errors import CheckpointError


class ValueHead(nn.Module):
    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(d_model))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """(B, T)."""
        return hidden_BTD.float() @ self.weight + self.bias

    def save(self, path: Path) -> None:
        write_tensors(path, dict(self.named_parameters()))

    @staticmethod
    def load(path: Path) -> "ValueHead":
        tensors = read_tensors(path)
        if set(tensors) != {"weight", "bias"}:
            raise CheckpointError(f"{path}: not a value head: it holds {sorted(tensors)}, not weight and bias")
        head = ValueHead(len(tensors["weight"]))
        head.load_state_dict(tensors)
        return head
