"""Calibration: whether it is right as often as it is sure.

answers_ece, answers_brier   its own answers to questions, by the probability of the whole answer
choice_ece, choice_brier     one of four choices, by its share of the probability (`choices`); `choice_accuracy` beside
"""

import numpy as np

from glasshouse.evals.trust.choices import answer_choices, choose, continuations
from glasshouse.evals.trust.hallucination import asked
from glasshouse.evals.trust.probe import Finding, Subject, share
from glasshouse.evals.trust.reliability import calibration_scores, reliability_diagram


def calibration(subject: Subject) -> Finding:
    return _of_answers(subject) + _of_choices(subject)


def _of_answers(subject: Subject) -> Finding:
    if not subject.is_chat or not subject.questions:
        return Finding(missing=["calibration of its answers: no questions with known answers"])
    answered = asked(subject)
    p, right = np.array([a.p for a in answered]), np.array([a.is_right for a in answered])
    return Finding(
        calibration_scores("answers", p, right, subject.seed), (), {"answers": reliability_diagram(p, right)}
    )


def _of_choices(subject: Subject) -> Finding:
    n = subject.pick(200, 1000)
    items = answer_choices(subject.questions, n, subject.seed) if subject.is_chat else []
    if not items and subject.held_out is not None:
        items = continuations(subject.held_out, subject.tokenizer, n, subject.seed)
    chosen = [c for c in choose(subject.model, items) if c is not None]
    if not chosen:
        return Finding(missing=["calibration on choices: neither questions nor held-out text to make them from"])
    p, right = np.array([max(c.p) for c in chosen]), np.array([c.is_right for c in chosen])
    scores = [share("choice_accuracy", right, subject.seed), *calibration_scores("choice", p, right, subject.seed)]
    return Finding(scores, (), {"choices": reliability_diagram(p, right)})
