"""The one table of scorers: is this text right, given the answers of its question?  Shared by `evals` and `align`.

What `answers` holds depends on the scorer; any one of them is enough:
  exact, normalised   the right text
  numeric             the right number, or a text that comes to it ("... #### 72")
  json                a JSON Schema that must fit; none asks only for JSON
  python              a program of tests that must run to its end
"""

from collections.abc import Callable, Sequence

from glasshouse.core.errors import ConfigError, suggest
from glasshouse.evals.json_answer import is_json
from glasshouse.evals.matching import is_exact, is_normalised
from glasshouse.evals.numeric import is_numerically_equal
from glasshouse.evals.python_tests import all_pass_tests, passes_tests

Scorer = Callable[[str, Sequence[str]], bool]
ScorerOfMany = Callable[[Sequence[str], Sequence[Sequence[str]]], list[bool]]

SCORERS: dict[str, Scorer] = {
    "exact": is_exact,
    "normalised": is_normalised,
    "numeric": is_numerically_equal,
    "json": is_json,
    "python": passes_tests,
}
IN_PARALLEL: dict[str, ScorerOfMany] = {"python": all_pass_tests}  # those that are faster on many at once


def score_all(name: str, texts: Sequence[str], answers: Sequence[Sequence[str]]) -> list[bool]:
    """`SCORERS[name]` of every text with its answers."""
    if name not in SCORERS:
        raise ConfigError(f"no scorer is called {name!r}.{suggest(name, SCORERS)} There are: {', '.join(SCORERS)}.")
    if len(texts) != len(answers):
        raise ConfigError(f"{len(texts)} texts need as many lists of answers; got {len(answers)}")
    if name in IN_PARALLEL:
        return IN_PARALLEL[name](texts, answers)
    return [SCORERS[name](text, expected) for text, expected in zip(texts, answers)]
