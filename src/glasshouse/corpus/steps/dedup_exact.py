"""Exact duplicates: the same text but for white space at its ends; the first one is kept.

It comes after masking, so that letters which differ only in their addresses are one.
"""

from collections.abc import Sequence
from hashlib import blake2b

from glasshouse.core.records import Document
from glasshouse.corpus.step import KeyStep


def text_key(documents: Sequence[Document]) -> list[bytes]:
    """16 bytes each: among 10^12 documents the chance of any two texts sharing a key is 10^-15."""
    return [
        blake2b(document.text.strip().encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for document in documents
    ]


DEDUP_EXACT = KeyStep("dedup_exact", text_key, "duplicate")
