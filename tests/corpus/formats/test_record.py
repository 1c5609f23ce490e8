import pytest

from glasshouse.corpus.formats.record import explain_no_text, record_text


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"text": "a", "title": "b"}, "a"),
        ({"content": "c"}, "c"),
        ({"question": "q", "n": 3, "answer": "a", "empty": " "}, "q\n\na"),
        ("bare", "bare"),
        ({"n": 1}, None),
        ([1], None),
        (None, None),
        ({"text": "half \ud83d"}, "half \ufffd"),
    ],
)
def test_text_of_a_record(record: object, text: str | None) -> None:
    assert record_text(record) == text


def test_a_named_field_is_the_only_one_looked_at() -> None:
    assert record_text({"text": "a", "story": "b"}, "story") == "b"
    assert record_text({"text": "a"}, "story") is None
    assert "fields: text" in explain_no_text({"text": "a"}, "story")
