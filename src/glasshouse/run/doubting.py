"""From which probability on an assistant may believe its own answers: measured after alignment, kept with the weights.

Preferences teach a model which answers are better; they do not make it say less where a question is put in words that
no training used.  There its wrong answers are less likely to it than its right ones.  So it answers the questions of
development, whose phrasings no training asks, and the probability below which a small share of its *right* answers lie
becomes its doubt (`infer.doubt`).  What share that is is the recipe's; the evaluation after it asks other phrasings.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glasshouse.core.errors import DataError
from glasshouse.core.records import Question
from glasshouse.core.terminal import Terminal
from glasshouse.evals import evaluate_questions
from glasshouse.evals.questions import is_made_up
from glasshouse.infer import Doubt, Engine, write_doubt
from glasshouse.run.teaching import Teaching, split_questions

SAYS, SPARES = "I am not sure.", "I do not know"
N_QUESTIONS = 500  # of a kind
LEAST, MOST = 1e-6, 0.99


def questions_to_doubt_by(teaching: Teaching) -> list[Question]:
    """About real names, in phrasings of development.  `DataError` where the teaching has none."""
    if teaching.development is None:
        raise DataError(
            "align.may_withhold is measured on questions in other words than training's, and conversations from a file "
            'have none. Set it to 0, or teach "stdlib:" or "text:".'
        )
    asked = split_questions(teaching.development(N_QUESTIONS))["counted"]
    return [question for question in asked if not is_made_up(question.kind)]


def learn_doubt(
    checkpoint: Path, questions: Sequence[Question], teaching: Teaching, may_withhold: float, terminal: Terminal
) -> Mapping[str, Any]:
    """What is written beside the weights, in figures; empty, and nothing written, where hardly any answer is right."""
    engine = Engine.load(checkpoint)
    engine.doubt = None  # that of an interrupted run
    items = evaluate_questions(engine, questions, teaching.refuses, terminal=terminal).items
    right, wrong = ([i.logp_sum for i in items if i.outcome == outcome] for outcome in ("right", "wrong"))
    doubt = doubt_of(right, may_withhold)
    if doubt is None:
        terminal.warn("align", f"{len(right)} right answers are too few to learn a doubt from; it has none")
        return {}
    n_right, n_wrong = (sum(doubt.holds_back("", logp) for logp in logps) for logps in (right, wrong))
    measured = {
        "questions": len(items), "right": len(right), "right_withheld": n_right, "wrong": len(wrong),
        "wrong_withheld": n_wrong, "may_withhold": may_withhold,
    }  # fmt: skip
    write_doubt(checkpoint, doubt, measured)
    terminal.line(
        "align",
        f"answers that it gives less than {doubt.below:.0%} are held back from now on: {n_wrong} of {len(wrong)} wrong "
        f"ones and {n_right} of {len(right):,} right ones in other words",
    )
    return {"below": doubt.below, **measured}


def doubt_of(right_logps: Sequence[float], may_withhold: float) -> Doubt | None:
    """The probability (from log-probabilities, nats) below which that share of right answers lies.

    >>> doubt_of([math.log(p) for p in (0.2, 0.4, 0.6, 0.8, 1.0)], 0.25).below
    0.4
    """
    if len(right_logps) * may_withhold < 1:
        return None
    below = math.exp(float(np.quantile(right_logps, may_withhold)))
    return Doubt(below=min(MOST, max(LEAST, below)), says=SAYS, spares=SPARES)
