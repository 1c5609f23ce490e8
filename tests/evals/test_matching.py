import pytest

from glasshouse.evals.matching import is_exact, is_normalised, normalise


def test_exact_forgives_only_white_space_around():
    assert is_exact(" shutil\n", ("os", "shutil"))
    assert (
        not is_exact("Shutil", ("shutil",)) and not is_exact("shutil.", ("shutil",)) and not is_exact("", ("shutil",))
    )


@pytest.mark.parametrize("text", ["It lives in `os.path`.", "it lives in  os.path", 'It lives in "os.path"!'])
def test_normalised_forgives_case_quotes_and_ends(text):
    assert is_normalised(text, ("It lives in os.path.",))


@pytest.mark.parametrize(("a", "b"), [("f(a, b)", "f(a)"), ("os.path", "ospath"), ("__init__", "init"), ("-1", "1")])
def test_what_differs_stays_different(a, b):
    assert normalise(a) != normalise(b)
