"""All private data of a text, without overlaps.  A finder is one file and one line in `FINDERS`."""

from collections.abc import Callable, Iterator

from glasshouse.corpus.private.addresses import find_addresses
from glasshouse.corpus.private.cards import find_cards
from glasshouse.corpus.private.emails import find_emails
from glasshouse.corpus.private.ibans import find_ibans
from glasshouse.corpus.private.phones import find_phones
from glasshouse.corpus.private.secrets import find_secrets
from glasshouse.corpus.private.span import Span

# In order of authority: where two overlap, the earlier kind wins (a private key may contain anything).
FINDERS: dict[str, Callable[[str], Iterator[Span]]] = {
    "secret": find_secrets,
    "email": find_emails,
    "iban": find_ibans,
    "card": find_cards,
    "ip": find_addresses,
    "phone": find_phones,
}


def find_private(text: str) -> list[Span]:
    """Spans in order of position, none overlapping another; of one kind the longest wins, then the first."""
    chosen: list[Span] = []
    is_taken = bytearray()
    for finder in FINDERS.values():
        for span in sorted(finder(text), key=lambda span: (span.start - span.end, span.start)):
            is_taken = is_taken or bytearray(len(text))
            if 1 not in is_taken[span.start : span.end]:
                is_taken[span.start : span.end] = b"\1" * (span.end - span.start)
                chosen.append(span)
    return sorted(chosen, key=lambda span: span.start)
