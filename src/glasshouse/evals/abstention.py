"""Saying that one does not know: which answers count as a refusal, and the sentence that is expected.

Detection is by literal patterns at the start of an answer, not by a model: it is the same in every run, and what it
counts can be read here.
"""

import re
from collections.abc import Sequence

REFUSAL_SENTENCE = "I do not know of `{name}` in the standard library."
REFUSAL_STARTS = (
    "i do not know", "i don't know", "i am not sure", "i'm not sure", "i am not aware", "i'm not aware",
    "i cannot answer", "i can't answer", "there is no ", "no such ",
)  # fmt: skip


class RefusalPattern:
    """Callable: `RefusalPattern()("I do not know of `os.fly` in the standard library.")` -> True."""

    def __init__(self, sentence: str = REFUSAL_SENTENCE, starts: Sequence[str] = REFUSAL_STARTS) -> None:
        self.sentence = sentence
        self._pattern = re.compile(r"\W*(?:" + "|".join(map(re.escape, starts)) + ")", re.IGNORECASE)

    def __call__(self, text: str) -> bool:
        return self._pattern.match(text.replace("’", "'")) is not None

    def expected(self, name: str) -> str:
        """The whole sentence for one name."""
        return self.sentence.format(name=name)
