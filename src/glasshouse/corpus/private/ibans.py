"""International bank account numbers: the country's length and the check digits (ISO 13616, modulo 97)."""

import re
from collections.abc import Iterator

from glasshouse.corpus.private.span import Span

# Searched from the two check digits on: text holds far fewer digits than letters.
CANDIDATE = re.compile(
    r"[0-9]{2}(?<=(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2})(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,4})?(?![A-Za-z0-9])"
)
LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
    "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20,
    "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25,
    "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip


def find_ibans(text: str) -> Iterator[Span]:
    for match in CANDIDATE.finditer(text):
        start = match.start() - 2
        length = _length_of_iban(text[start : match.end()])
        if length is not None:
            yield Span(start, start + length, "iban")


def _length_of_iban(candidate: str) -> int | None:
    """How much of `candidate`, which may run on into the next word, is the account number; None if it is none."""
    length = LENGTHS.get(candidate[:2].upper())
    n_seen = 0
    for position, character in enumerate(candidate):
        n_seen += character != " "
        if n_seen == length:
            is_whole = candidate[position + 1 : position + 2] in ("", " ")
            number = candidate[: position + 1].replace(" ", "")
            return position + 1 if is_whole and is_iban_valid(number) else None
    return None


def is_iban_valid(number: str) -> bool:
    """`is_iban_valid("GB82WEST12345698765432")` -> True: first four behind, letters as 10 to 35, modulo 97 is 1."""
    moved = number[4:] + number[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1
