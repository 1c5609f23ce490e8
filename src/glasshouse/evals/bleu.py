"""BLEU: the words and phrases of a translation that stand in the reference too.  The one file that imports sacrebleu.

Words are cut by sacrebleu's own tokenizer (13a), so scores are comparable with published ones; a corpus is scored from
the sums of its texts' counts.  Source: Papineni et al. 2002; smoothing "exp" as sacrebleu's default.
Columns: length of the text, length of the reference nearest to it, then for orders 1 to 4 shared and all n-grams.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from glasshouse.core.extras import require

require("sacrebleu", "eval", "BLEU")

from sacrebleu.metrics import BLEU  # noqa: E402

N_ORDERS = 4
_of_sentence = BLEU(effective_order=True)

Floats = NDArray[np.float64]


def bleu_counts(text: str, answers: Iterable[str]) -> list[float]:
    found = _of_sentence.sentence_score(text, list(answers))
    pairs = [count for pair in zip(found.counts, found.totals) for count in pair]
    return [float(found.sys_len), float(found.ref_len), *map(float, pairs)]


def bleu_of(sums_RC: Floats) -> Floats:
    """0 to 1, one a row of summed counts."""
    return np.array([_of_counts(row, is_sentence=False) for row in sums_RC])


def bleu(text: str, answers: Iterable[str]) -> float:
    """Of one text, by the orders it is long enough for."""
    return _of_counts(np.array(bleu_counts(text, answers)), is_sentence=True)


def _of_counts(counts_C: Floats, *, is_sentence: bool) -> float:
    sys_len, ref_len, common, totals = *counts_C[:2], counts_C[2::2], counts_C[3::2]
    score = BLEU.compute_bleu(
        [int(n) for n in common], [int(n) for n in totals], int(sys_len), int(ref_len), smooth_method="exp",
        effective_order=is_sentence,
    )  # fmt: skip
    return float(score.score) / 100
