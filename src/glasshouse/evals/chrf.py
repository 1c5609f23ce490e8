"""chrF: F-score of character n-grams, for translations.  Source: Popović 2015, as sacrebleu counts it (chrF2).

Counts are of one text; a corpus is scored from the sums of its texts' counts, and so are resamples of it.
Columns: for each order 1 to 6 the n-grams of the text, of the reference, and those they share.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

N_ORDERS = 6
BETA2 = 4.0  # recall counts twice (beta = 2)
EPSILON = 1e-16

Floats = NDArray[np.float64]


def chrf_counts(text: str, answers: Iterable[str]) -> list[float]:
    """(3 * N_ORDERS) counts against the answer that the text is nearest to."""
    counts = [_counts(text, answer) for answer in answers]
    return max(counts, key=lambda found: float(chrf_of(np.array([found]))[0]))


def chrf_of(sums_RC: Floats) -> Floats:
    """0 to 1, one a row of summed counts."""
    ours_RO, theirs_RO, common_RO = sums_RC[:, 0::3], sums_RC[:, 1::3], sums_RC[:, 2::3]
    counts_RO = (ours_RO > 0) & (theirs_RO > 0)  # orders that both are long enough for
    precision_RO = np.where(counts_RO, common_RO / np.maximum(ours_RO, 1), 0).sum(1)
    recall_RO = np.where(counts_RO, common_RO / np.maximum(theirs_RO, 1), 0).sum(1)
    n_R = np.maximum(counts_RO.sum(1), 1)
    precision_R, recall_R = precision_RO / n_R, recall_RO / n_R
    below_R = BETA2 * precision_R + recall_R
    return np.where(below_R > 0, (1 + BETA2) * precision_R * recall_R / np.maximum(below_R, EPSILON), 0.0)


def chrf(text: str, answers: Iterable[str]) -> float:
    """Of one text.  chrf("a cat", ["a cat"]) -> 1.0."""
    return float(chrf_of(np.array([chrf_counts(text, answers)]))[0])


def _counts(text: str, reference: str) -> list[float]:
    ours, theirs = "".join(text.split()), "".join(reference.split())
    result: list[float] = []
    for n in range(1, N_ORDERS + 1):
        a, b = (Counter(s[i : i + n] for i in range(len(s) - n + 1)) for s in (ours, theirs))
        result += [a.total() if b else 0, b.total(), (a & b).total()]  # sacrebleu: no reference, no fault
    return result
