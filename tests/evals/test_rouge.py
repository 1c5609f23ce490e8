"""Against `rouge_score`, which papers use."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshouse.evals.rouge import rouge_1_of, rouge_l, rouge_l_of, rouge_n

TEXTS = st.text(alphabet="ab cD-é.1\n", max_size=40)


@given(TEXTS, TEXTS)
@settings(deadline=None, max_examples=40)
def test_equal_to_rouge_score(text, reference):
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL"])
    expected = scorer.score(reference, text)
    found = {
        "rouge1": rouge_n(text, reference, 1),
        "rouge2": rouge_n(text, reference, 2),
        "rougeL": rouge_l(text, reference),
    }
    assert found == pytest.approx({name: score.fmeasure for name, score in expected.items()})


def test_the_best_answer_counts():
    assert rouge_1_of("a b", ["c", "a b"]) == rouge_l_of("a b", ["a b", "c"]) == 1.0
    assert rouge_1_of("a", []) == 0.0
