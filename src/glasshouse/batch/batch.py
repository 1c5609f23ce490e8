"""What the trainer needs of a batch, whatever it is made of: rows of text, pairs of answers, rollouts."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Batch(Protocol):
    """`count_targets()` is what the loss is a mean over: tokens, pairs, answers.

    `microbatches` cuts where nothing that belongs together is parted, and the parts' targets add up to the whole's.
    `n_bytes` is the UTF-8 length of the text behind the targets; 0 where bits per byte would mean nothing.
    """

    @property
    def ids_BT(self) -> Tensor: ...

    @property
    def n_rows(self) -> int: ...

    @property
    def n_tokens(self) -> int: ...

    @property
    def n_bytes(self) -> int: ...

    def count_targets(self) -> int: ...

    def microbatches(self, microbatch_tokens: int | None) -> Sequence["Batch"]: ...

    def to(self, device: torch.device) -> "Batch": ...
