"""A vocabulary small enough to read: bytes, with one token for the end of a text and one for half a character."""

import hashlib
from collections.abc import Iterable

import pytest


class ByteEncoder:
    """Ids 0..255 are bytes; 256 ends a text; 257 opens a message."""

    def __init__(self, name: str = "bytes") -> None:
        self.hash = hashlib.sha256(name.encode()).hexdigest()
        self.vocab_size = 258
        self.end_of_text_id = 256
        self.special_ids = {"<|endoftext|>": 256, "<|im_start|>": 257}

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        return [list(text.encode()) for text in texts]

    def token_bytes(self, id: int) -> bytes:
        return bytes([id]) if id < 256 else b"<|special|>"


@pytest.fixture
def encoder() -> ByteEncoder:
    return ByteEncoder()


@pytest.fixture
def other_encoder() -> ByteEncoder:
    return ByteEncoder("another")
