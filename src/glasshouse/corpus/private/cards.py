"""Payment card numbers: the right first digits for their length, and a right check digit (Luhn, ISO/IEC 7812-1).

A random number of the right length passes both tests about once in fifty times; digits after a decimal point are not
looked at, since source code and tables are full of them.
"""

import re
from collections.abc import Iterator

from glasshouse.corpus.private.digits import digit_regions
from glasshouse.corpus.private.span import Span

CANDIDATE = re.compile(
    r"(?<![\w.,+/-])[0-6][0-9]{3}"
    r"(?:[0-9]{8,15}|(?:[ -][0-9]{4}){2}[ -][0-9]{1,7}|[ -][0-9]{6}[ -][0-9]{4,5})"
    r"(?![\w-])(?!\.[0-9])"
)
CARD_WORD = re.compile(r"\b(?:cards?|cc|visa|mastercard|amex|maestro)\b[^.\n]{0,20}\Z", re.I)
ISSUERS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11}"  # Diners Club
    r"|(?:6011|65[0-9]{2}|64[4-9][0-9])[0-9]{12}"  # Discover
    r"|(?:35(?:2[89]|[3-8][0-9])[0-9]{12}|(?:2131|1800)[0-9]{11})"  # JCB
    r"|62[0-9]{14,17}"  # UnionPay
    r"|(?:5018|5020|5038|5893|6304|6759|6761|6762|6763)[0-9]{8,15}"  # Maestro
)
TEST_NUMBERS = frozenset({"4111111111111111", "4242424242424242", "5555555555554444", "378282246310005"})


def find_cards(text: str) -> Iterator[Span]:
    for start, end in digit_regions(text):
        for match in CANDIDATE.finditer(text, start, end):
            if _is_card(
                match.group().replace(" ", "").replace("-", ""), text[max(0, match.start() - 40) : match.start()]
            ):
                yield Span(match.start(), match.end(), "card")


def _is_card(digits: str, before: str) -> bool:
    """Where the text speaks of a card, any issuer will do: new ranges are given out faster than lists are made."""
    if not is_luhn_valid(digits) or digits in TEST_NUMBERS or len(set(digits)) < 3:
        return False
    return bool(ISSUERS.fullmatch(digits) or CARD_WORD.search(before))


def is_luhn_valid(digits: str) -> bool:
    """`is_luhn_valid("4111111111111111")` -> True: from the right, every second digit doubled, sum divisible by ten."""
    numbers = [int(digit) for digit in reversed(digits)]
    doubled = sum(sum(divmod(2 * number, 10)) for number in numbers[1::2])
    return (sum(numbers[::2]) + doubled) % 10 == 0
