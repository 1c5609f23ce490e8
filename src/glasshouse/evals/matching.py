"""When an answer counts: character by character, or after what does not matter has been taken away."""

import re
import unicodedata
from collections.abc import Iterable


def is_exact(text: str, answers: Iterable[str]) -> bool:
    """Equal to one of the answers, leaving out white space around it."""
    return text.strip() in {answer.strip() for answer in answers}


def is_normalised(text: str, answers: Iterable[str]) -> bool:
    """Equal to one of the answers after `normalise`."""
    return normalise(text) in {normalise(answer) for answer in answers}


def normalise(text: str) -> str:
    """Case, quotation marks, white space, and punctuation at the ends taken away.

    normalise(' It lives in  `os.path`. ') -> 'it lives in os.path'
    Signs within stay: `f(a, b)` and `f(a)` are different answers.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    unquoted = re.sub(r"[`'\"‘’“”]", "", folded)
    return re.sub(r"\s+", " ", unquoted).strip(" .,;:!?")
