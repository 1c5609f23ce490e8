import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse.core.records import Document
from glasshouse.corpus.steps.normalize import normalize


def clean(text: str) -> tuple[str, set[str]]:
    [outcome] = normalize([Document("a", text, "s", 7)])
    assert outcome.document is not None and outcome.document.offset == 7
    return outcome.document.text, set(outcome.reasons)


@pytest.mark.parametrize(
    ("text", "expected", "reasons"),
    [
        ("a\r\nb\rc", "a\nb\nc", {"line ends"}),
        ("a\x00\x0cb\tc\n", "ab\tc\n", {"control characters"}),
        ("\x1b[31mred\x1b[0m", "red", {"control characters"}),
        ("\ufeffcafe\u0301", "café", {"composed characters"}),
        ("plain\n\ttext ü", "plain\n\ttext ü", set()),
    ],
)
def test_repairs(text: str, expected: str, reasons: set[str]) -> None:
    assert clean(text) == (expected, reasons)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_normalizing_twice_changes_nothing(text: str) -> None:
    once, _ = clean(text)
    assert clean(once) == (once, set())
