import pytest

from glasshouse.evals import RefusalPattern


@pytest.mark.parametrize(
    "text",
    [
        "I do not know of `os.fly` in the standard library.",
        "i don’t know.",
        "  “I'm not aware of it",
        "There is no os.fly.",
    ],
)
def test_refusals(text):
    assert RefusalPattern()(text)


@pytest.mark.parametrize("text", ["", "Return the file, I do not know which.", "Knowing", "Therein no"])
def test_answers(text):
    assert not RefusalPattern()(text)


def test_expected_sentence_and_own_patterns():
    assert RefusalPattern().expected("os.fly") == "I do not know of `os.fly` in the standard library."
    own = RefusalPattern("No {name}.", ["no "])
    assert own("No x.") and not own("I do not know") and own.expected("x") == "No x."
