"""Search in a text whose suffixes are sorted: many patterns at once, each by one binary search.

Shapes: N ids of text, O sorted suffixes (those that begin early enough; all see the whole text), M ids of a query, R
patterns (pieces of the query), W ids compared at once, V ids of the vocabulary.  Everything is NumPy on memory maps: a
search touches about 30 pages a pattern.  The number of ids that a pattern is known to share with both ends of its range
is kept and never compared again (Manber and Myers, 1993).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
FIRST_WIDTH, MAX_WIDTH = 8, 1024  # ids compared at once; doubled while all are equal


@dataclass(frozen=True, slots=True)
class Found:
    """Where patterns stand among the sorted suffixes, [R] each: `order[low:high]` begin with the pattern.

    `shared` is how far the longest match of a pattern goes, its whole length where it occurs.
    """

    low_R: Ints
    high_R: Ints
    shared_R: Ints


class SortedText:
    """`order_O` are positions in `text_N`, in the order of the suffixes that begin there."""

    def __init__(self, text_N: NDArray[Any], order_O: NDArray[Any]) -> None:
        self.text_N, self.order_O = np.asarray(text_N), np.asarray(order_O)

    def find(self, query_M: Ints, starts_R: Ints, lengths_R: Ints) -> Found:
        """The patterns `query[start : start + length]`."""
        query_M = np.append(query_M, 0)  # so that a pattern of no ids has something to stand on
        n_rows = len(starts_R)
        twice = np.tile(starts_R, 2), np.tile(lengths_R, 2)  # both ends of a range in one search
        place_2R, shared_2R = self._insertion(query_M, *twice, is_upper_R=np.arange(2 * n_rows) >= n_rows)
        return Found(place_2R[:n_rows], place_2R[n_rows:], shared_2R[:n_rows])

    def longest(self, query_M: Ints) -> Ints:
        """[M] how many ids from each place of the query on stand somewhere in the text."""
        starts_M = np.arange(len(query_M))
        return self._insertion(query_M, starts_M, len(query_M) - starts_M, np.zeros(len(query_M), np.bool_))[1]

    def following(self, low: int, high: int, depth: int, n_ids: int) -> Ints:
        """[V] how often each id comes `depth` after the beginning of the suffixes `order[low:high]`, which share so
        many ids: they are sorted by it, so all V borders are searched for at once."""
        border_V = np.full(n_ids + 1, low, np.int64)
        top_V = np.full(n_ids + 1, high, np.int64)
        for _ in range((high - low).bit_length()):
            is_open_V = border_V < top_V
            middle_V = np.minimum((border_V + top_V) >> 1, high - 1)
            at_V = self.order_O[middle_V].astype(np.int64) + depth
            is_ended_V = at_V >= len(self.text_N)  # smaller than any id
            id_V = self.text_N[np.minimum(at_V, len(self.text_N) - 1)].astype(np.int64)
            is_below_V = is_ended_V | (id_V < np.arange(n_ids + 1))
            border_V = np.where(is_open_V & is_below_V, middle_V + 1, border_V)
            top_V = np.where(is_open_V & ~is_below_V, middle_V, top_V)
        return np.diff(border_V)

    def _insertion(
        self, query_M: Ints, starts_R: Ints, lengths_R: Ints, is_upper_R: NDArray[np.bool_]
    ) -> tuple[Ints, Ints]:
        """(place of each pattern before those it begins, or behind them; ids shared with the nearer neighbour)."""
        n_rows, n_sorted = len(starts_R), len(self.order_O)
        low_R, high_R = np.zeros(n_rows, np.int64), np.full(n_rows, n_sorted, np.int64)
        with_low_R, with_high_R = np.zeros(n_rows, np.int64), np.zeros(n_rows, np.int64)
        for _ in range(n_sorted.bit_length()):
            is_open_R = low_R < high_R
            middle_R = np.minimum((low_R + high_R) >> 1, n_sorted - 1)
            position_R = self.order_O[middle_R].astype(np.int64)
            shared_R = self._shared(query_M, starts_R, lengths_R, position_R, np.minimum(with_low_R, with_high_R))
            is_below_R = self._is_below(query_M, starts_R, lengths_R, position_R, shared_R, is_upper_R)
            is_up_R, is_down_R = is_open_R & is_below_R, is_open_R & ~is_below_R
            low_R, with_low_R = np.where(is_up_R, middle_R + 1, low_R), np.where(is_up_R, shared_R, with_low_R)
            high_R, with_high_R = np.where(is_down_R, middle_R, high_R), np.where(is_down_R, shared_R, with_high_R)
        return low_R, np.maximum(with_low_R, with_high_R)

    def _shared(self, query_M: Ints, starts_R: Ints, lengths_R: Ints, position_R: Ints, known_R: Ints) -> Ints:
        """[R] how many ids each pattern shares with the suffix at `position`; `known` of them need no look."""
        shared_R, rows, width = known_R.copy(), np.arange(len(starts_R)), FIRST_WIDTH
        n, m = len(self.text_N), len(query_M)
        while rows.size:
            ahead_RW = shared_R[rows, None] + np.arange(width)
            in_text_RW, in_query_RW = position_R[rows, None] + ahead_RW, starts_R[rows, None] + ahead_RW
            is_equal_RW = self.text_N[np.minimum(in_text_RW, n - 1)] == query_M[np.minimum(in_query_RW, m - 1)]
            is_equal_RW &= (in_text_RW < n) & (ahead_RW < lengths_R[rows, None])
            is_whole_R = is_equal_RW.all(axis=1)
            shared_R[rows] += np.where(is_whole_R, width, is_equal_RW.argmin(axis=1))
            rows, width = rows[is_whole_R], min(2 * width, MAX_WIDTH)
        return shared_R

    def _is_below(
        self,
        query_M: Ints,
        starts_R: Ints,
        lengths_R: Ints,
        position_R: Ints,
        shared_R: Ints,
        is_upper_R: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Whether the suffix at `position` is smaller than the pattern; if it begins with that, `is_upper`."""
        in_text_R, in_query_R = position_R + shared_R, starts_R + shared_R
        is_ended_R = in_text_R >= len(self.text_N)
        id_R = self.text_N[np.minimum(in_text_R, len(self.text_N) - 1)]
        is_smaller_R = is_ended_R | (id_R < query_M[np.minimum(in_query_R, len(query_M) - 1)])
        return np.where(shared_R == lengths_R, is_upper_R, is_smaller_R)
