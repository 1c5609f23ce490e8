import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.evals.scorers import IN_PARALLEL, SCORERS, score_all

# scorer: what is right, its answers, what is wrong
CASES = {
    "exact": ("os", ("os",), "OS"),
    "normalised": ("OS.", ("os",), "ossify"),
    "numeric": ("It is 1,200.", ("1200",), "120"),
    "json": ("[1]", ('{"type": "array"}',), "{}"),
    "python": ("def f(x): return 2 * x", ("assert f(2) == 4",), "def f(x): return x"),
    "rouge_1": ("the cat", ("The cat.",), "a dog"),
    "rouge_2": ("the cat", ("The cat.",), "cat the"),
    "rouge_l": ("the cat", ("The cat.",), "a dog"),
    "chrf": ("Ein Hund", ("Ein Hund",), "xyz"),
    "bleu": ("Ein Hund läuft", ("Ein Hund läuft",), "xyz"),
}


def test_every_scorer_tells_right_from_wrong():
    pytest.importorskip("sacrebleu")
    assert set(CASES) == set(SCORERS) and set(IN_PARALLEL) <= set(SCORERS)
    for name, (right, answers, wrong) in CASES.items():
        assert score_all(name, [right, wrong], [answers, answers]) == pytest.approx([1, 0]), name


def test_unknown_scorer():
    with pytest.raises(ConfigError, match='Did you mean "numeric"'):
        score_all("numerical", ["1"], [("1",)])


def test_texts_without_answers():
    with pytest.raises(ConfigError, match="2 texts need as many"):
        score_all("python", ["1", "2"], [("1",)])
