"""Corpora of ids: lists of small numbers as documents."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from glasshouse.batch import EncodedDocument, TokenShard, write_shard


class IdEncoder:
    """Ids 1.. stand for one character each, 0 ends a text."""

    def __init__(self, vocab_size: int = 8) -> None:
        self.vocab_size, self.end_of_text_id = vocab_size, 0
        self.hash = hashlib.sha256(str(vocab_size).encode()).hexdigest()
        self.special_ids = {"<|endoftext|>": 0}

    def token_bytes(self, id: int) -> bytes:
        return chr(96 + id % 26).encode()


def shard_of(path: Path, documents: Sequence[Sequence[int]], vocab_size: int = 8) -> TokenShard:
    encoded = (EncodedDocument(f"d{n}", list(ids), f"file{n}.txt") for n, ids in enumerate(documents))
    return write_shard(path, encoded, IdEncoder(vocab_size))  # type: ignore[arg-type]
