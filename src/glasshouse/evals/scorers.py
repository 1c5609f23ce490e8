"""The one table of scorers: what is this text worth, given the answers of its question?  Shared by `evals` and `align`.

Right or wrong, True or False; what `answers` holds depends on the scorer, and any one of them is enough:
  exact, normalised   the right text
  numeric             the right number, or a text that comes to it ("... #### 72")
  json                a JSON Schema that must fit; none asks only for JSON
  python              a program of tests that must run to its end
How near, from 0 to 1, to the nearest of the answers:
  rouge_1, rouge_2, rouge_l   a summary: shared words, pairs of words, words in order
  chrf, bleu                  a translation: shared pieces of words, shared phrases
"""

from collections.abc import Callable, Iterable, Sequence

from glasshouse.core.errors import ConfigError, suggest
from glasshouse.evals.chrf import chrf
from glasshouse.evals.json_answer import is_json
from glasshouse.evals.matching import is_exact, is_normalised
from glasshouse.evals.numeric import is_numerically_equal
from glasshouse.evals.python_tests import all_pass_tests, passes_tests
from glasshouse.evals.rouge import rouge_1_of, rouge_2_of, rouge_l_of

Scorer = Callable[[str, Sequence[str]], float]
ScorerOfMany = Callable[[Sequence[str], Sequence[Sequence[str]]], Sequence[float]]


def bleu(text: str, answers: Iterable[str]) -> float:
    """As `evals.bleu`, whose package is optional and imported only now."""
    from glasshouse.evals.bleu import bleu as bleu_of_text

    return bleu_of_text(text, answers)


SCORERS: dict[str, Scorer] = {
    "exact": is_exact,
    "normalised": is_normalised,
    "numeric": is_numerically_equal,
    "json": is_json,
    "python": passes_tests,
    "rouge_1": rouge_1_of,
    "rouge_2": rouge_2_of,
    "rouge_l": rouge_l_of,
    "chrf": chrf,
    "bleu": bleu,
}
IN_PARALLEL: dict[str, ScorerOfMany] = {"python": all_pass_tests}  # those that are faster on many at once


def score_all(name: str, texts: Sequence[str], answers: Sequence[Sequence[str]]) -> Sequence[float]:
    """`SCORERS[name]` of every text with its answers."""
    check_scorer(name)
    if len(texts) != len(answers):
        raise ConfigError(f"{len(texts)} texts need as many lists of answers; got {len(answers)}")
    if name in IN_PARALLEL:
        return IN_PARALLEL[name](texts, answers)
    return [SCORERS[name](text, expected) for text, expected in zip(texts, answers)]


def check_scorer(name: str) -> None:
    if name not in SCORERS:
        raise ConfigError(f"no scorer is called {name!r}.{suggest(name, SCORERS)} There are: {', '.join(SCORERS)}.")
