"""In which order prompts are asked: all in random order, then all again in another; settled ones may be passed over.

A prompt is settled while its answers, when it was last asked, were all rewarded alike and better than the mean of that
iteration: such a group has no advantages and teaches nothing, and late in a training most groups are such.  Asking
rather what is not yet known is the prioritised sampling of Kimi k1.5 (arXiv:2501.12599, section 2.3.4).  What is
settled is still asked now and then, so that what was forgotten is noticed.
Shapes: P prompts, N of them in an iteration, G answers to each.
Left out: DAPO's dynamic sampling (arXiv:2503.14476, section 3.2), which goes on asking until enough groups differ and
throws the other answers away.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from glasshouse.core.seeds import numpy_generator


@dataclass(frozen=True)
class Turn:
    """Who is asked next: whoever stands at `place` in the order of `epoch`; and who is settled by then."""

    epoch: int
    place: int
    settled_P: NDArray[np.bool_]

    def after(self, asked_N: Sequence[int], reward_NG: Tensor) -> "Turn":
        is_alike_N = (reward_NG == reward_NG[:, :1]).all(dim=1)
        settled_P = self.settled_P.copy()
        settled_P[asked_N] = (is_alike_N & (reward_NG[:, 0] > reward_NG.mean())).numpy()
        return replace(self, settled_P=settled_P)

    def to_json(self) -> dict[str, Any]:
        bits = base64.b64encode(np.packbits(self.settled_P).tobytes()).decode()
        return {"epoch": self.epoch, "place": self.place, "n_prompts": len(self.settled_P), "settled": bits}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Turn":
        bytes_ = np.frombuffer(base64.b64decode(value["settled"]), np.uint8)
        return Turn(value["epoch"], value["place"], np.unpackbits(bytes_, count=value["n_prompts"]).astype(np.bool_))


class PromptOrder:
    """`skip_settled`: the probability that a settled prompt is passed over when its turn comes."""

    def __init__(self, n_prompts: int, seed: int) -> None:
        self.n_prompts, self.seed = n_prompts, seed
        self._epoch: tuple[int, list[int], NDArray[np.float64]] | None = None

    def at(self, n_asked: int) -> Turn:
        """Whose turn it is after `n_asked` where nobody was passed over."""
        return Turn(*divmod(n_asked, self.n_prompts), np.zeros(self.n_prompts, np.bool_))

    def take(self, turn: Turn, n: int, skip_settled: float) -> tuple[list[int], Turn]:
        """Numbers of the next `n` prompts, and whose turn it is then."""
        taken: list[int] = []
        epoch, place = turn.epoch, turn.place
        while len(taken) < n:
            if place == self.n_prompts:
                epoch, place = epoch + 1, 0
            order_P, chance_P = self._of(epoch)
            number = order_P[place]
            if not (turn.settled_P[number] and chance_P[place] < skip_settled):
                taken.append(number)
            place += 1
        return taken, replace(turn, epoch=epoch, place=place)

    def _of(self, epoch: int) -> tuple[list[int], NDArray[np.float64]]:
        """The order of an epoch, and a number from 0 to 1 for each place in it."""
        if self._epoch is None or self._epoch[0] != epoch:
            order_P = numpy_generator(self.seed, "prompts", epoch).permutation(self.n_prompts).tolist()
            chance_P = numpy_generator(self.seed, "passed over", epoch).random(self.n_prompts)
            self._epoch = (epoch, order_P, chance_P)
        return self._epoch[1], self._epoch[2]
