"""Two numbers for each of P pairs of answers: of the one that was preferred, and of the other."""

from typing import NamedTuple

from torch import Tensor


class Pair(NamedTuple):
    chosen_P: Tensor
    rejected_P: Tensor

    @property
    def difference_P(self) -> Tensor:
        return self.chosen_P - self.rejected_P
