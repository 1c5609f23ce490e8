"""Against sacrebleu's own corpus score."""

import numpy as np
import pytest

pytest.importorskip("sacrebleu")

from sacrebleu.metrics import BLEU

from glasshouse.evals.bleu import bleu, bleu_counts, bleu_of

TEXTS = ["Ein Hund läuft, schnell.", "Zwei Männer stehen in einem Raum.", "ja", ""]
REFERENCES = ["Ein Hund rennt schnell.", "Zwei Männer stehen in einem grünen Raum.", "nein", "Etwas"]


def test_a_corpus_equals_sacrebleu():
    sums = np.sum([bleu_counts(t, [r]) for t, r in zip(TEXTS, REFERENCES)], axis=0, keepdims=True)
    assert bleu_of(sums)[0] == pytest.approx(BLEU().corpus_score(TEXTS, [REFERENCES]).score / 100)


def test_one_text_equals_sacrebleu():
    for text, reference in zip(TEXTS, REFERENCES):
        expected = BLEU(effective_order=True).sentence_score(text, [reference]).score / 100
        assert bleu(text, [reference]) == pytest.approx(expected)
    assert bleu("a b c d", ["x", "a b c d"]) == pytest.approx(1.0)
