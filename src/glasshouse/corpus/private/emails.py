"""E-mail addresses.

Looked for around each `@`, so text without one costs nothing.  Not addresses: `@decorator`, `user@host` (no dot),
`W@x.sum()` (a call, or an ending that is no top-level domain), `git@github.com` (a service).  Kept as they are: domains
reserved for documentation (RFC 2606: example.com, .test, .invalid, ...).
Left out: disguises such as "name at host dot com"; addresses in non-ASCII letters.
"""

import re
from collections.abc import Iterator

from glasshouse.corpus.private.span import Span

LOCAL = re.compile(r"(?:[A-Za-z0-9_]|(?<=[A-Za-z0-9_])[.%+'-](?=[A-Za-z0-9_])|[%+-](?=[A-Za-z0-9_]))+\Z")
DOMAIN = re.compile(r"((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8})([A-Za-z]{2,24})(?![\w(-])(?!\.\w)")
MAX_LOCAL_CHARS = 64  # RFC 5321
RESERVED = re.compile(r"(?:\A|\.)(?:example\.(?:com|org|net|edu)|(?:example|test|invalid|localhost|local))\Z", re.I)
SERVICES = frozenset({"git", "hg", "svn"})
# Two letters are a country; of the longer endings, those in wide use.  The full list would take `x@y.mean` for mail.
GENERIC_DOMAIN_LIST = """
com org net edu gov mil int info biz name pro aero coop museum mobi jobs travel tel cat asia post xxx arpa app dev
page blog shop store online site website tech cloud email mail xyz club live news media agency studio design digital
software systems solutions services consulting company group team work world global network zone space life love art
photography photos gallery academy school university college science engineering health care clinic dental legal law
finance financial bank capital fund insurance energy green eco earth farm garden food restaurant cafe bar pub beer
wine fashion style boutique clothing jewelry toys games game fun party events tours holiday vacations hotel berlin
london paris wien koeln hamburg bayern nyc tokyo amsterdam swiss scot wales irish eus gal bzh quebec africa moscow
top icu vip win bid trade download review link click help support chat foundation ngo ong church community social
family kids man woman lgbt gmbh ltd llc inc ventures partners management
"""
GENERIC_DOMAINS = frozenset(GENERIC_DOMAIN_LIST.split())


def find_emails(text: str) -> Iterator[Span]:
    position = text.find("@")
    while position >= 0:
        domain = DOMAIN.match(text, position + 1)
        start = _local_start(text, position) if domain else None
        if domain and start is not None and _is_address(text[start:position], domain.group(), domain.group(2)):
            yield Span(start, domain.end(), "email")
        position = text.find("@", position + 1)


def _local_start(text: str, at: int) -> int | None:
    """Where the part before the @ starts; None if there is none or it is too long."""
    window = text[max(0, at - MAX_LOCAL_CHARS - 1) : at]
    match = LOCAL.search(window)
    if match is None or len(match.group()) > MAX_LOCAL_CHARS:
        return None
    return at - len(match.group())


def _is_address(local: str, domain: str, ending: str) -> bool:
    is_known = len(ending) == 2 or ending.lower() in GENERIC_DOMAINS
    return is_known and local.lower() not in SERVICES and not RESERVED.search(domain)
