import json
from fractions import Fraction

import pytest

from glasshouse.core.errors import DataError
from glasshouse.evals.numeric import is_numerically_equal, number_in


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", 42),
        ("The answer is 42.", 42),
        ("48/2 = 24 clips in May\n#### 72", 72),
        ("#### -1,234", -1234),
        ("#### 10\n#### 11", 11),
        ("= $1,250.00 a month", 1250),
        ("-$3.50", Fraction(-7, 2)),
        ("1,234,567 of 8", 8),
        ("12,34 and 5,678", 5678),
        ("3/4 of it", Fraction(3, 4)),
        ("about -1 1/2 km.", Fraction(-3, 2)),
        (r"so $\frac{3}{4}$ cup", Fraction(3, 4)),
        (r"\boxed{12} since 5 < 7", 12),
        (r"\boxed{\frac{1}{2}}", Fraction(1, 2)),
        ("50 %", 50),
        ("6.02e23", Fraction(602 * 10**21)),
        ("−7", -7),
        ("10-7", 7),
        ("x = -7", -7),
        ("H2O at 100 °C", 100),
        (".5", Fraction(1, 2)),
        ("x=3.", 3),
        ("none", None),
        ("1/0", None),
        ("####", None),
        ("9" * 5000, None),
        ("", None),
    ],
)
def test_number_in(text, number):
    assert number_in(text) == number


def test_huge_exponents_are_not_computed():
    assert number_in("1e999999999999") != 0  # returns at once; what it finds does not matter


@pytest.mark.parametrize(("text", "expected"), [("0.333333", "1/3"), ("1000000.4", "1,000,000"), ("2.0", "2")])
def test_rounding_is_forgiven(text, expected):
    assert is_numerically_equal(text, (expected,))


@pytest.mark.parametrize(("text", "expected"), [("0.33", "1/3"), ("7", "-7"), ("72 or 73", "72"), ("", "0")])
def test_other_numbers_are_wrong(text, expected):
    assert not is_numerically_equal(text, (expected,))


def test_any_answer_is_enough_and_must_be_a_number():
    assert is_numerically_equal("5", ("4", "5"))
    with pytest.raises(DataError, match="holds no number"):
        is_numerically_equal("5", ("five",))


def test_gsm8k(shared_data):
    """Every solution of the set comes to the number behind its mark, and not to the number before."""
    lines = (shared_data / "sft" / "gsm8k-train.jsonl").read_text(encoding="utf-8").splitlines()[:2000]
    for answer in (json.loads(line)["answer"] for line in lines):
        number = answer.rpartition("#### ")[2].replace(",", "").replace("$", "")
        assert number_in(answer) == Fraction(number)
        assert not is_numerically_equal(f"#### {Fraction(number) + 1}", (answer,))
