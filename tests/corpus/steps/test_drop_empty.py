from glasshouse.core.records import Document
from glasshouse.corpus.steps.drop_empty import drop_empty


def test_only_white_space_is_removed() -> None:
    outcomes = drop_empty([Document(text, text, "s") for text in ("", " \n\t", "x", " x ")])
    assert [outcome.document is None for outcome in outcomes] == [True, True, False, False]
    assert [dict(outcome.reasons) for outcome in outcomes] == [{"empty": 1}, {"empty": 1}, {}, {}]
