import pytest

from glasshouse.core.errors import ConfigError, DataError
from glasshouse.evals.template import fields_of, fill, fill_blank

RECORD = {"text": "fine", "n": 3, "answers": ["a", "b"], "meta": {"who": "me"}, "none": None}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Review: {text}\nIt was", "Review: fine\nIt was"), ("{n}", "3"), ("{answers}", "a\nb"), ("{answers.1}", "b"),
        ("{meta.who}", "me"), ("{{text}}", "{text}"), ("{none}", ""), ("", ""),
    ],
)  # fmt: skip
def test_fields_are_filled_in(template, expected):
    assert fill(template, RECORD) == expected


def test_what_is_filled_in_is_not_read_again():
    assert fill("{a}", {"a": "{b}", "b": "no"}) == "{b}"


def test_blank_and_fields():
    assert fill_blank("Q: {text}\n{options}\nA:", {"options": "A. x"}) == "Q: \nA. x\nA:"
    assert fields_of("{a} {b.c}") == ["a", "b.c"]


@pytest.mark.parametrize("template", ["{text.__class__}", "{answers.2}", "{answers.-1}", "{txt}"])
def test_what_a_record_lacks(template):
    with pytest.raises(DataError, match="a record has no field"):
        fill(template, RECORD)


def test_the_nearest_name_is_told():
    with pytest.raises(DataError, match='Did you mean "text"'):
        fill("{txt}", RECORD)


@pytest.mark.parametrize("template", ["{text!r}", "{n:5}", "{}", "{answers[0]}", "{f()}", "{text", "text}"])
def test_a_template_is_no_program(template):
    with pytest.raises(ConfigError, match="Write"):
        fill(template, RECORD)
