"""Against sacrebleu, of single texts and of a corpus."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshouse.evals.chrf import chrf, chrf_counts, chrf_of

TEXT = st.text(alphabet="abc dé", min_size=0, max_size=30)
REFERENCE = st.text(alphabet="abc dé", min_size=1, max_size=30).filter(str.strip)


@given(TEXT, REFERENCE)
@settings(deadline=None, max_examples=40)
def test_one_text_equals_sacrebleu(text, reference):
    metrics = pytest.importorskip("sacrebleu.metrics")
    assert chrf(text, [reference]) == pytest.approx(metrics.CHRF().sentence_score(text, [reference]).score / 100)


@given(st.lists(st.tuples(TEXT, REFERENCE), min_size=1, max_size=5))
@settings(deadline=None, max_examples=40)
def test_a_corpus_equals_sacrebleu(pairs):
    metrics = pytest.importorskip("sacrebleu.metrics")
    texts, references = map(list, zip(*pairs))
    sums = np.sum([chrf_counts(t, [r]) for t, r in pairs], axis=0, keepdims=True)
    assert chrf_of(sums)[0] == pytest.approx(metrics.CHRF().corpus_score(texts, [references]).score / 100)


def test_the_nearest_answer_counts():
    assert chrf("ein Hund", ["zwei Katzen", "ein Hund"]) == 1.0
