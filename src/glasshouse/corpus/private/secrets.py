"""Keys, tokens and passwords that give access to something.

Each form is looked for only where a fixed part of it occurs, so ordinary text costs one substring search a form.
Assigned secrets (`api_key = "..."`) must look random: at least 3.5 bits a character, letters and digits mixed.
Kept as they are: keys that documentation marks as examples.
Left out: passwords that are words; tokens without a form or a name beside them.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator

from glasshouse.corpus.private.span import Span

# (part that must occur, form); group 1, where there is one, is the secret itself.
FORMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("-----BEGIN", re.compile(
        r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){0,16384}"
        r"(?:-----END [A-Z0-9 ]{0,40}-----)?"
    )),
    ("AKIA", re.compile(r"(?<![A-Za-z0-9])AKIA[A-Z0-9]{16}(?![A-Za-z0-9])")),
    ("ASIA", re.compile(r"(?<![A-Za-z0-9])ASIA[A-Z0-9]{16}(?![A-Za-z0-9])")),
    ("gh", re.compile(r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36,251}(?![A-Za-z0-9])")),
    ("github_pat_", re.compile(r"(?<![A-Za-z0-9])github_pat_[A-Za-z0-9_]{22,251}")),
    ("glpat-", re.compile(r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20,64}")),
    ("xox", re.compile(r"(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10,250}")),
    ("hooks.slack.com/", re.compile(
        r"hooks\.slack\.com/services/(T[A-Za-z0-9]{6,14}/B[A-Za-z0-9]{6,14}/[A-Za-z0-9]{20,32})"
    )),
    ("_live_", re.compile(r"(?<![A-Za-z0-9])[sr]k_live_[A-Za-z0-9]{16,250}")),
    ("AIza", re.compile(r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])")),
    ("ya29.", re.compile(r"(?<![A-Za-z0-9])ya29\.[A-Za-z0-9_-]{20,250}")),
    ("sk-", re.compile(r"(?<![A-Za-z0-9-])sk-(?:proj-|ant-|svcacct-)?(?=[A-Za-z_-]{0,60}[0-9])[A-Za-z0-9_-]{32,250}")),
    ("hf_", re.compile(r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{34}(?![A-Za-z0-9])")),
    ("npm_", re.compile(r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])")),
    ("pypi-", re.compile(r"(?<![A-Za-z0-9])pypi-AgE[A-Za-z0-9_-]{50,250}")),
    ("SG.", re.compile(r"(?<![A-Za-z0-9])SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")),
    ("eyJ", re.compile(
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,4096}\.eyJ[A-Za-z0-9_-]{10,8192}\.[A-Za-z0-9_-]{10,1024}"
    )),
    ("://", re.compile(r"://[^\s/:@\"'<>{}$%]{1,64}:([^\s/:@\"'<>{}$%]{3,128})@[A-Za-z0-9]")),
)  # fmt: skip
# The last word of a name such as `api_key`, in the ways it is written: six times faster than one case-blind pattern.
NAMES = tuple(
    form for word in ("key", "secret", "token", "password", "passwd") for form in (word, word.title(), word.upper())
)
BEFORE_KEY = re.compile(r"(?:api|access|secret|private|auth|account|encryption|signing)[_-]?\Z", re.I)
ASSIGNED = re.compile(
    r"[\"']?\s{0,4}(?::=|=>|:|=)\s{0,4}([\"']?)([A-Za-z0-9+/_=.~!@#$%^&*-]{16,256})\1(?![A-Za-z0-9(\[])"
)
MIN_BITS_A_CHAR = 3.5
EXAMPLE = re.compile(r"example|placeholder|your[_-]|changeme|xxxx|1234567890|0123456789|abcdefghij", re.I)


def find_secrets(text: str) -> Iterator[Span]:
    for part, form in FORMS:
        if part in text:
            for match in form.finditer(text):
                group = match.lastindex or 0
                if not EXAMPLE.search(match.group(group)[:256]):
                    yield Span(match.start(group), match.end(group), "secret")
    yield from _assigned(text)


def _assigned(text: str) -> Iterator[Span]:
    """`api_key = "8fK2mQ9xL4vB7nR1"`: the value of something named a key, secret, token or password."""
    for name in NAMES:
        position = text.find(name)
        while position >= 0:
            end = position + len(name)
            match = ASSIGNED.match(text, end)
            is_secret_name = name.lower() != "key" or BEFORE_KEY.search(text[max(0, position - 12) : position])
            if match and is_secret_name and looks_random(match.group(2)) and not EXAMPLE.search(match.group(2)):
                yield Span(match.start(2), match.end(2), "secret")
            position = text.find(name, end)


def looks_random(text: str) -> bool:
    """`looks_random("8fK2mQ9xL4vB7nR1")` -> True; names (`os.environ.get`), paths and words are not."""
    has_both = any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    if not has_both or re.fullmatch(r"[A-Za-z_]+[0-9]{0,3}(?:[._/-][A-Za-z_]+[0-9]{0,3})*", text):
        return False
    return bits_a_char(text) >= MIN_BITS_A_CHAR


def bits_a_char(text: str) -> float:
    """Entropy of the text's own character frequencies: "aaaa" -> 0, 16 different characters -> 4."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())
