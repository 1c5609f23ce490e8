r"""The number an answer comes to, compared as a number: "= $1,250.00 a month" is right where 1250 is expected.

Taken is what follows the last "####" (GSM8K's mark), else what the last \boxed{} holds, else the whole text; of that
the last number.  Understood: signs, thousands separators, decimals, exponents, fractions (3/4, 1 1/2, \frac{3}{4}).
Units are passed over, the percent sign too: 50 % is 50 and not 0.5.
Left out: decimal commas (1.250,00), numbers in words, arithmetic that was not carried out.
"""

import re
from collections.abc import Iterable
from fractions import Fraction

from glasshouse.core.errors import DataError

TOLERANCE = Fraction(1, 1_000_000)  # forgives 0.333333 for 1/3; whole numbers are compared exactly

_WHOLE = r"\d{1,3}(?:,\d{3})+(?!\d)|\d+"
_NUMBER = re.compile(
    rf"(?<![\w.])(?P<sign>(?<![\w)])[-+]\s?\$?|)\$?(?:"
    rf"(?P<mixed>\d+)\s+(?P<top>\d+)/(?P<bottom>\d+)"
    rf"|(?P<over>{_WHOLE})\s?/\s?(?P<under>{_WHOLE})"
    rf"|(?P<plain>(?:{_WHOLE})(?:\.\d+)?|\.\d+)(?P<exponent>[eE][-+]?\d{{1,3}}(?!\d))?)",
    re.ASCII,
)
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")


def number_in(text: str) -> Fraction | None:
    """The number an answer comes to; None where there is none.

    number_in("48/2 = 24 clips in May\n#### 72") -> 72;  number_in("about -1 1/2 km.") -> -3/2
    """
    text = text.replace("\N{MINUS SIGN}", "-").replace("\\!", "").replace("{,}", ",").replace("\\$", "$")
    if "####" in text:
        text = text.rpartition("####")[2]
    elif boxed := _BOXED.findall(text):
        text = boxed[-1]
    matches = list(_NUMBER.finditer(_LATEX_FRACTION.sub(r"\1/\2", text)))
    return _value(matches[-1]) if matches else None


def is_numerically_equal(text: str, answers: Iterable[str]) -> bool:
    """Whether the text comes to the number of one of the answers."""
    given = number_in(text)
    expected = [_expected(answer) for answer in answers]
    return given is not None and any(_is_near(given, number) for number in expected)


def _is_near(given: Fraction, expected: Fraction) -> bool:
    """Equal, or within the tolerance: relative to the expected number, absolute below 1."""
    if given.denominator == expected.denominator == 1:
        return given == expected
    return abs(given - expected) <= TOLERANCE * max(Fraction(1), abs(expected))


def _expected(answer: str) -> Fraction:
    number = number_in(answer)
    if number is None:
        raise DataError(f"the expected answer {answer[:80]!r} holds no number; a numeric score needs one")
    return number


def _value(match: re.Match[str]) -> Fraction | None:
    part = {name: (text or "").replace(",", "") for name, text in match.groupdict().items()}
    try:
        if part["mixed"]:
            size = int(part["mixed"]) + Fraction(int(part["top"]), int(part["bottom"]))
        elif part["over"]:
            size = Fraction(int(part["over"]), int(part["under"]))
        else:
            size = Fraction(part["plain"] + part["exponent"])
    except (ZeroDivisionError, ValueError):  # ValueError: more digits than Python turns into a number
        return None
    return -size if part["sign"].startswith("-") else size
