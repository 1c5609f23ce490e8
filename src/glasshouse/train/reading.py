"""Batches for the trainer: the whole, and the part that is computed here, where it is computed.

On a GPU the next one is read and sent while it computes this one, by a thread.  Only from loaders whose batches are a
function of the cursor alone (`reads_ahead`): one that samples from the model must wait for the step.
Left out: more than one batch ahead, processes that read.
"""

from collections.abc import Callable

from glasshouse.batch import Batch, Cursor, Loader
from glasshouse.train.errand import Errand

Reading = tuple[Batch, Batch, Cursor]  # (whole batch, part computed here, cursor of the next one)


class Reader:
    """`place(batch)`: the part computed here, on the device."""

    def __init__(self, loader: Loader, place: Callable[[Batch], Batch], *, reads_ahead: bool) -> None:
        self._loader, self._place, self._reads_ahead = loader, place, reads_ahead
        self._ahead: tuple[Cursor, Errand, list[Reading]] | None = None

    def read(self, cursor: Cursor) -> Reading:
        found = self._finished(cursor) or self._read(cursor)
        if self._reads_ahead:
            results: list[Reading] = []
            following = found[2]
            self._ahead = (following, Errand(lambda: results.append(self._read(following))), results)
        return found

    def _finished(self, cursor: Cursor) -> Reading | None:
        """What was read ahead, if it is what is asked for: not the first time, nor after going back."""
        if self._ahead is None:
            return None
        foreseen, errand, results = self._ahead
        errand.finish()
        return results[0] if foreseen == cursor else None

    def _read(self, cursor: Cursor) -> Reading:
        batch, following = self._loader.batch_at(cursor)
        return batch, self._place(batch), following
