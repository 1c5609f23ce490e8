"""A doubt is measured on right answers alone, and asked for before any work where it cannot be measured."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from glasshouse.core.errors import DataError
from glasshouse.core.records import Question
from glasshouse.core.terminal import Terminal
from glasshouse.evals.answers import judge
from glasshouse.infer import Completion, Doubt
from glasshouse.infer.doubt import read_doubt
from glasshouse.run import doubting
from glasshouse.run.doubting import doubt_of, learn_doubt, questions_to_doubt_by
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


def test_what_is_learned_is_kept_beside_the_weights_and_not_measured_through_an_older_doubt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = SimpleNamespace(doubt=Doubt(below=0.9, says="?"))
    asked = [Question(str(n), "?", ("right",), "module") for n in range(200)]
    said = [
        ("right" if n < 100 else "wrong", -n / 100) for n in range(200)
    ]  # all wrong ones less likely than right ones
    items = [judge(q, q.answers, Completion((1,), text, "stop", (logp,)), lambda _: False)
             for q, (text, logp) in zip(asked, said, strict=True)]  # fmt: skip

    def evaluate(given: SimpleNamespace, *_: object, **__: object) -> SimpleNamespace:
        assert given.doubt is None
        return SimpleNamespace(items=items)

    monkeypatch.setattr(doubting.Engine, "load", lambda path: engine)
    monkeypatch.setattr(doubting, "evaluate_questions", evaluate)
    found = learn_doubt(tmp_path, asked, teaching_of(None), 0.05, Terminal(is_quiet=True))
    assert (found["right_withheld"], found["wrong_withheld"]) == (5, 100)
    doubt = read_doubt(tmp_path)
    assert doubt is not None and doubt.below == found["below"] == pytest.approx(math.exp(-0.9405))
