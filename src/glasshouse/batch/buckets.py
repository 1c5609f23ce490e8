"""Items of like length together: which of them make a batch, when each item is a few rows that stay together."""

from collections.abc import Sequence

import numpy as np


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
