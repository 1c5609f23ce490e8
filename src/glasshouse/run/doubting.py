"""From which probability on an assistant may believe its own answers: measured after alignment, kept with the weights.

Preferences teach a model which answers are better; they do not make it say less where a question is put in words that
no training used.  There its wrong answers are less likely to it than its right ones.  So it answers the questions of
development, whose phrasings no training asks, and the probability below which a small share of its *right* answers lie
becomes its doubt (`infer.doubt`).  What share that is is the recipe's; the evaluation after it asks other phrasings.
"""

import math
from collections.abc import Sequence
from pathlib import Path

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
) -> Doubt | None:
    """Written beside the weights.  None, and nothing written, where hardly any answer is right."""
    items = evaluate_questions(Engine.load(checkpoint), questions, teaching.refuses, terminal=terminal).items
    logps = {is_right: [i.logp_sum for i in items if (i.outcome == "right") == is_right and i.outcome != "refused"]
             for is_right in (True, False)}  # fmt: skip
    doubt = doubt_of(logps[True], may_withhold)
    if doubt is None:
        terminal.warn("align", f"{len(logps[True])} right answers are too few to learn a doubt from; it has none")
        return None
    withheld = {is_right: sum(doubt.holds_back("", logp) for logp in found) for is_right, found in logps.items()}
    write_doubt(checkpoint, doubt, {
        "questions": len(items), "right": len(logps[True]), "right_withheld": withheld[True],
        "wrong": len(logps[False]), "wrong_withheld": withheld[False], "may_withhold": may_withhold,
    })  # fmt: skip
    terminal.line(
        "align",
        f"answers it gives less than {doubt.below:.0%} are held back from now on: {withheld[False]} of "
        f"{len(logps[False])} wrong ones and {withheld[True]} of {len(logps[True]):,} right ones in other words",
    )
    return doubt


def doubt_of(right_logps: Sequence[float], may_withhold: float) -> Doubt | None:
    """The probability (from log-probabilities, nats) below which that share of right answers lies.

    >>> doubt_of([math.log(p) for p in (0.2, 0.4, 0.6, 0.8, 1.0)], 0.25).below
    0.4
    """
    if len(right_logps) * may_withhold < 1:
        return None
    below = math.exp(float(np.quantile(right_logps, may_withhold)))
    return Doubt(below=min(MOST, max(LEAST, below)), says=SAYS, spares=SPARES)
