"""Items of like length together: which of them make a batch, when each item is a few rows that stay together."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

import numpy as np

from glasshouse.batch.cursor import Cursor
from glasshouse.core.seeds import numpy_generator

BUCKET_MULTIPLE = 8  # rows are padded to a multiple of this: few shapes, little waste
Item = TypeVar("Item")
Batch = TypeVar("Batch")


def bucketed(
    lengths: Sequence[int], n_rows: Sequence[int], batch_tokens: int, multiple: int, rng: np.random.Generator
) -> list[tuple[int, list[int]]]:
    """Batches of (row length, items), of at most `batch_tokens` positions each (at least one item).

    Sorted by length, ties and the order of batches drawn anew with every `rng`; row lengths are a multiple of
    `multiple`, so that there are few shapes.
    """
    order = [int(i) for i in rng.permutation(len(lengths))]
    batches: list[tuple[int, list[int]]] = []
    padded = n_rows_before = 0
    for item in sorted(order, key=lambda i: -lengths[i]):
        if not batches or (n_rows_before + n_rows[item]) * padded > batch_tokens:
            padded, n_rows_before = -(-lengths[item] // multiple) * multiple, 0
            batches.append((padded, []))
        batches[-1][1].append(item)
        n_rows_before += n_rows[item]
    return [batches[int(i)] for i in rng.permutation(len(batches))]


class BucketedLoader(ABC, Generic[Item, Batch]):
    """Batches of about `batch_tokens` positions.  The order of epoch e is a pure function of (seed, kind, e).

    `about`: what else decides the result and must be the same when a run goes on (the reference, say).
    """

    kind: str
    has_fixed_shape = False

    def __init__(
        self, items: Sequence[Item], batch_tokens: int, seed: int, *, tokenizer_hash: str, pad_id: int, about: str = ""
    ) -> None:
        self.items, self.batch_tokens, self.seed, self.pad_id = items, batch_tokens, seed, pad_id
        self._tokenizer_hash, self._about = tokenizer_hash, about
        self._planned: tuple[int, list[tuple[int, list[int]]]] | None = None

    @abstractmethod
    def size(self, item: Item) -> tuple[int, int]:
        """(length of its longest row, rows)."""

    @abstractmethod
    def assemble(self, items: Sequence[Item], length: int) -> Batch: ...

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """What tells this data from other data."""

    @property
    def tokenizer_hash(self) -> str:
        return self._tokenizer_hash

    def start(self) -> Cursor:
        return Cursor()

    def n_batches(self, epoch: int = 0) -> int:
        return len(self._plan(epoch))

    def batch_at(self, cursor: Cursor) -> tuple[Batch, Cursor]:
        plan = self._plan(cursor.epoch)
        length, chosen = plan[cursor.index]
        following = replace(cursor, index=cursor.index + 1)
        batch = self.assemble([self.items[i] for i in chosen], length)
        return batch, following if following.index < len(plan) else Cursor(epoch=cursor.epoch + 1)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "batch_tokens": self.batch_tokens,
            "seed": self.seed,
            "tokenizer": self.tokenizer_hash,
            **self.content(),
            "about": self._about,
        }

    def _plan(self, epoch: int) -> list[tuple[int, list[int]]]:
        if self._planned is None or self._planned[0] != epoch:
            lengths, n_rows = zip(*map(self.size, self.items), strict=True)
            rng = numpy_generator(self.seed, self.kind, epoch)
            self._planned = (epoch, bucketed(lengths, n_rows, self.batch_tokens, BUCKET_MULTIPLE, rng))
        return self._planned[1]
