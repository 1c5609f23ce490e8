"""A doubt is measured on right answers alone, and asked for before any work where it cannot be measured."""

import math

import pytest

from glasshouse.core.errors import DataError
from glasshouse.core.records import Question
from glasshouse.run.doubting import doubt_of, questions_to_doubt_by
from glasshouse.run.teaching import Teaching


def teaching_of(development) -> Teaching:
    return Teaching(lambda epoch: (), lambda limit: (), lambda text: False, "", development)


def test_a_share_of_the_right_answers_lies_below_it() -> None:
    logps = [math.log(n / 200) for n in range(1, 200)]
    doubt = doubt_of(logps, 0.05)
    assert doubt is not None and sum(doubt.holds_back("", logp) for logp in logps) == pytest.approx(0.05 * 199, abs=1)
    assert not doubt.holds_back("I do not know of it.", -9.0)


def test_few_right_answers_give_no_doubt() -> None:
    assert doubt_of([-0.5] * 20, 0.01) is None and doubt_of([-0.5] * 100, 0.01) is not None


def test_only_real_names_are_asked() -> None:
    asked = [Question(kind, "?", ("x",), kind) for kind in ("summary", "made_up", "unrecited", "module")]
    found = questions_to_doubt_by(teaching_of(lambda limit: asked))
    assert [q.kind for q in found] == ["summary", "module"]


def test_a_teaching_without_other_words_is_refused() -> None:
    with pytest.raises(DataError, match="may_withhold"):
        questions_to_doubt_by(teaching_of(None))
