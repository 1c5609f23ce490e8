"""Telephone numbers, by form or by the words around them.

By form alone: an international prefix (+46 8 ..., 001-518-...), the North American 541-714-1388, and a zero with
at least three groups (0490 75 40 81).  Other groups of 7 to 12 digits only where a word says what they are ("phone:",
"call me at", "office" behind): bare digit groups are dates, sizes and tables far more often.
Not numbers: dates and times, decimals, parts of identifiers; 555-01xx, reserved for fiction.
"""

import re
from collections.abc import Iterator

from glasshouse.corpus.private.digits import digit_regions
from glasshouse.corpus.private.span import Span

BEFORE = r"(?<![\w./+$#%=*^-])(?<![0-9],)(?<![0-9]:)"
AFTER = r"(?![\w/+%*=:^])(?!-\w*\d)(?![.,]\d)"
EXTENSION = r"(?:(?:\s?(?:x|ext\.?)\s?|\s?#)[0-9]{1,5})?"
BY_FORM = re.compile(
    BEFORE
    + r"(?:\+[1-9][0-9]{0,13}(?:[ .-]?\([0-9]{1,4}\)[ .-]?[0-9]{1,9})?(?:[ .-][0-9]{1,9}){0,5}"
    + r"|00[1-9][0-9]{0,2}(?:[ .-][0-9]{2,4}){3,4}"
    + r"|(?:1[ .-])?(?:\([2-9][0-9]{2}\)[ ]?|[2-9][0-9]{2}-)[2-9][0-9]{2}-[0-9]{4}"
    + r"|[2-9][0-9]{2}\.[2-9][0-9]{2}\.[0-9]{4}"
    + r"|0[1-9][0-9]{0,3}(?:[ .-][0-9]{2,4}){3}"
    + r"|0[1-9](?:[ .-][0-9]{2}){4}"
    + r"|0[1-9][0-9]{1,3} [0-9]{3} [0-9]{3,4})"
    + EXTENSION
    + AFTER
)
BY_CONTEXT = re.compile(
    BEFORE + r"\(?[0-9]{2,12}\)?(?:(?<=\))[ ]?[0-9]{2,7})?(?:[ .-][0-9]{2,7}){0,4}" + EXTENSION + r"(?![\w/+%*=^])"
)
WORD_BEFORE = re.compile(
    r"(?:\b(?:tele?phone|phone|tel|mobile|cell(?:phone)?|fax|handy|telefon|t[ée]l[ée]phone|tel[ée]fono|desk|hotline|"
    r"whatsapp|sms|voicemail)\b[^\d\n]{0,12}\n?\s?"
    r"|\b(?:call|ring|phone|text|reach|contact|dial|messages?|answering)\b[^\d\n]{0,14}\b(?:at|on|to|under)\b\s"
    r"|\b(?:dial|registered)\s)\Z",
    re.I,
)
WORD_AFTER = re.compile(r"(?:\s|-)(?:office|fax|phone|mobile|cell|desk)\b", re.I)
DATE = re.compile(r"(?:19|20)[0-9]{2}[ .-][0-9]{1,2}[ .-][0-9]{1,2}|[0-9]{1,2}[ .-][0-9]{1,2}[ .-](?:19|20)[0-9]{2}")
FICTIONAL = re.compile(r"555-?01[0-9]{2}\Z")
CONTEXT_CHARS = 40


def find_phones(text: str) -> Iterator[Span]:
    for start, end in digit_regions(text):
        for match in BY_FORM.finditer(text, start, end):
            if _is_number(match.group(), 8, 15):
                yield Span(match.start(), match.end(), "phone")
        for match in BY_CONTEXT.finditer(text, start, end):
            if _is_number(match.group(), 7, 12) and _is_announced(text, match.start(), match.end()):
                yield Span(match.start(), match.end(), "phone")


def _is_number(text: str, least: int, most: int) -> bool:
    number = re.split(r"x|e|#", text)[0]
    digits = re.sub(r"\D", "", number)
    return (
        least <= len(digits) <= most and not DATE.match(text) and not FICTIONAL.search(number) and len(set(digits)) > 2
    )


def _is_announced(text: str, start: int, end: int) -> bool:
    before = text[max(0, start - CONTEXT_CHARS) : start]
    return bool(WORD_BEFORE.search(before) or WORD_AFTER.match(text, end))
