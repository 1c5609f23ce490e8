"""Where a loader stands, as a value: what is stored in a checkpoint, and all that is needed to go on exactly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from glasshouse.batch.batch import Batch


@dataclass(frozen=True, slots=True)
class Cursor:
    """`epoch` and `index` of the next batch; `consumed` counts the windows taken of each source of a mixture."""

    epoch: int = 0
    index: int = 0
    consumed: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "index": self.index, "consumed": list(self.consumed)}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "Cursor":
        return Cursor(int(record["epoch"]), int(record["index"]), tuple(int(n) for n in record["consumed"]))


class Loader(Protocol):
    """What training needs of a source of batches.  The batch at a cursor is a pure function of (seed, cursor)."""

    @property
    def tokenizer_hash(self) -> str: ...

    @property
    def has_fixed_shape(self) -> bool:
        """Whether every batch has the same shape (compiling pays only then)."""
        ...

    def start(self) -> Cursor: ...

    def batch_at(self, cursor: Cursor) -> tuple[Batch, Cursor]: ...

    def describe(self) -> dict[str, Any]:
        """What decides the order and content of batches; a resumed run must find the same."""
        ...
