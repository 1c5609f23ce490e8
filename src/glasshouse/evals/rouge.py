"""ROUGE: how much of a reference's words a text has, and in their order.  Source: Lin 2004; words as in `rouge_score`.

rouge_n("the cat sat", "the cat ran", 2) -> 0.5: F1 of shared pairs of words.  rouge_l: F1 of the longest common
subsequence of words.
Left out: stemming, and ROUGE-Lsum, which cuts texts into sentences.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence


def rouge_n(text: str, reference: str, n: int) -> float:
    """F1 of n-grams of words, each counted as often as both have it."""
    ours, theirs = _ngrams(words(text), n), _ngrams(words(reference), n)
    return _f1((ours & theirs).total(), ours.total(), theirs.total())


def rouge_l(text: str, reference: str) -> float:
    """F1 of the longest common subsequence."""
    ours, theirs = words(text), words(reference)
    return _f1(_common_length(ours, theirs), len(ours), len(theirs))


def rouge_1_of(text: str, answers: Iterable[str]) -> float:
    """The best over all answers."""
    return max((rouge_n(text, answer, 1) for answer in answers), default=0.0)


def rouge_2_of(text: str, answers: Iterable[str]) -> float:
    return max((rouge_n(text, answer, 2) for answer in answers), default=0.0)


def rouge_l_of(text: str, answers: Iterable[str]) -> float:
    return max((rouge_l(text, answer) for answer in answers), default=0.0)


def words(text: str) -> list[str]:
    """Runs of ASCII letters and digits, in lower case."""
    return re.findall(r"[a-z0-9]+", text.lower())


def _ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def _common_length(a: Sequence[str], b: Sequence[str]) -> int:
    row = [0] * (len(b) + 1)
    for x in a:
        corner = 0
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], corner + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def _f1(n_common: int, n_ours: int, n_theirs: int) -> float:
    return 2 * n_common / (n_ours + n_theirs) if n_common else 0.0
