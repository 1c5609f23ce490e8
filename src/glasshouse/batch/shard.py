"""Token shards: flat memory-mapped ids with a header, the tokenizer's hash, and an index that leads back to the text.

Layout of the file, little endian:
  header    128 bytes: magic "GLASSTOK", version u32, bytes per id u32 (2 or 4), tokenizer sha256 (32 bytes),
            then u64: n_tokens, n_documents, vocab_size, n_bytes of text, n_characters of text, bytes of the names
  ids       n_tokens x u16 | u32.  Each document is <|endoftext|> and its text; one <|endoftext|> closes the shard, so
            the model learns both to begin after that token and to end with it.
  sizes     vocab_size x 2 x u16: the bytes each id stands for, and how many characters begin within them
  index     n_documents x 3 x u64: first token, offset in the source (characters), place in the names (bytes)
  names     per document JSON [id, source], one a line
Left out: several files for one corpus (a later issue scales out), loss masks (conversations are packed in memory).
"""

import json
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from glasshouse.core.errors import DataError
from glasshouse.core.files import atomic_open
from glasshouse.core.records import Document

MAGIC = b"GLASSTOK"
VERSION = 1
HEADER = struct.Struct("<8sII32s6Q")
HEADER_BYTES = 128
BLOCK_TOKENS = 4096  # characters are summed by blocks: looking up a place in a novel took milliseconds
BATCH_DOCUMENTS = 256  # encoded at once: enough to keep the encoder's threads busy, little enough to stay streaming


class Encoder(Protocol):
    """What a shard needs of a tokenizer."""

    @property
    def hash(self) -> str: ...

    @property
    def vocab_size(self) -> int: ...

    @property
    def end_of_text_id(self) -> int: ...

    @property
    def special_ids(self) -> dict[str, int]: ...

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]: ...

    def token_bytes(self, id: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class EncodedDocument:
    """Ids of one document's text (no special tokens) and where the text came from."""

    id: str
    ids: list[int]
    source: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Location:
    """Where a token came from.  `offset` is in characters of the source, that of the first character it touches."""

    document_id: str
    source: str
    offset: int


def encode_documents(documents: Iterable[Document], encoder: Encoder) -> Iterator[EncodedDocument]:
    """Streaming: documents are encoded a few hundred at a time."""
    documents = iter(documents)
    while batch := list(islice(documents, BATCH_DOCUMENTS)):
        for document, ids in zip(batch, encoder.encode_batch([d.text for d in batch])):
            yield EncodedDocument(document.id, ids, document.source, document.offset)


def write_shard(path: Path, documents: Iterable[EncodedDocument], encoder: Encoder) -> "TokenShard":
    """Write a shard, whole or not at all, and open it.  Documents without tokens are kept in the index."""
    width = np.dtype("<u2" if encoder.vocab_size <= 1 << 16 else "<u4")
    sizes_V2 = token_sizes(encoder)
    end = np.array([encoder.end_of_text_id], width)
    index: list[tuple[int, int, int]] = []
    names: list[bytes] = []
    n_tokens = n_name_bytes = n_bytes = n_characters = 0
    with atomic_open(path, "wb") as file:
        file.write(bytes(HEADER_BYTES))
        for document in documents:
            ids = np.asarray(document.ids, np.int64)
            if ids.size and int(ids.max()) >= encoder.vocab_size:
                raise DataError(f"document {document.id!r} holds id {ids.max()}, vocabulary has {encoder.vocab_size}")
            index.append((n_tokens, document.offset, n_name_bytes))
            names.append(json.dumps([document.id, document.source], ensure_ascii=False).encode() + b"\n")
            file.write(end.tobytes() + ids.astype(width).tobytes())
            n_tokens += 1 + ids.size
            n_name_bytes += len(names[-1])
            size = sizes_V2[ids].sum(axis=0, dtype=np.int64) if ids.size else (0, 0)
            n_bytes, n_characters = n_bytes + int(size[0]), n_characters + int(size[1])
        file.write(end.tobytes() + sizes_V2.astype("<u2").tobytes())
        file.write(np.asarray(index, "<u8").tobytes() + b"".join(names))
        file.seek(0)
        counts = (n_tokens + 1, len(index), encoder.vocab_size, n_bytes, n_characters, n_name_bytes)
        file.write(HEADER.pack(MAGIC, VERSION, width.itemsize, bytes.fromhex(encoder.hash), *counts))
    return TokenShard(path, encoder.hash)


def token_sizes(encoder: Encoder) -> NDArray[np.uint16]:
    """[V, 2]: bytes of each id, and characters that begin in them (bytes that do not continue a UTF-8 sequence).

    Special ids stand for no text: 0, 0.
    """
    special = {encoder.end_of_text_id, *encoder.special_ids.values()}
    sizes = np.zeros((encoder.vocab_size, 2), np.uint16)
    for id in range(encoder.vocab_size):
        if id not in special:
            text = encoder.token_bytes(id)
            sizes[id] = len(text), sum(byte & 0xC0 != 0x80 for byte in text)
    return sizes


class TokenShard:
    """A shard opened read-only.  `ids` is a memory map: reading a window touches only its pages."""

    def __init__(self, path: Path, tokenizer_hash: str | None = None) -> None:
        self.path = path
        header = _read_header(path)
        width, self.tokenizer_hash = header[2], header[3].hex()
        self.n_tokens, self.n_documents, self.vocab_size, self.n_bytes, self.n_characters, name_bytes = header[4:]
        if tokenizer_hash is not None and tokenizer_hash != self.tokenizer_hash:
            raise DataError(
                f"{path} was written with tokenizer {self.tokenizer_hash[:12]}, but the tokenizer given is "
                f"{tokenizer_hash[:12]}. Use that tokenizer, or encode the text again with this one."
            )
        sizes_at = HEADER_BYTES + self.n_tokens * width
        index_at = sizes_at + self.vocab_size * 4
        self._names_at = index_at + self.n_documents * 24
        if path.stat().st_size != self._names_at + name_bytes:
            raise DataError(
                f"{path} is damaged: {path.stat().st_size} bytes, its header promises "
                f"{self._names_at + name_bytes}. Delete it; the next run encodes the text again."
            )
        # Plain arrays over the maps: a memmap makes every look at an element a hundred times slower.
        self.ids: NDArray[Any] = np.asarray(np.memmap(path, f"<u{width}", "r", HEADER_BYTES, (self.n_tokens,)))
        sizes = np.asarray(np.memmap(path, "<u2", "r", sizes_at, (self.vocab_size, 2)))
        self.bytes_V, self.characters_V = sizes[:, 0].astype(np.int64), sizes[:, 1].astype(np.int64)
        self.index: NDArray[Any] = (
            np.asarray(np.memmap(path, "<u8", "r", index_at, (self.n_documents, 3)))
            if self.n_documents
            else np.zeros((0, 3), "<u8")
        )
        self._sums_by_document: dict[int, NDArray[np.int64]] = {}
        self.starts = np.ascontiguousarray(self.index[:, 0]).astype(np.int64)

    def document_numbers(self, start: int, stop: int) -> NDArray[np.int64]:
        """The document each token of `[start, stop)` belongs to; a document begins at its <|endoftext|>."""
        return np.searchsorted(self.starts, np.arange(start, stop), side="right") - 1

    def document(self, number: int) -> tuple[str, str, int]:
        """(id, source, offset) of a document."""
        _, offset, name_at = (int(n) for n in self.index[number])
        with self.path.open("rb") as file:
            file.seek(self._names_at + name_at)
            id, source = json.loads(file.readline())
        return id, source, offset

    def locate(self, token_index: int) -> Location:
        """The document and character a token came from: shard.locate(0) is the first character of the first text."""
        if not 0 <= token_index < self.n_tokens or not self.n_documents:
            raise DataError(f"token {token_index} is outside {self.path}, which holds {self.n_tokens}")
        number = bisect_right(self.starts, token_index) - 1  # type: ignore[type-var]
        id, source, offset = self.document(number)
        n_before = self._characters_before(number, token_index - int(self.starts[number]))
        if self.bytes_V[self.ids[token_index]] and not self.characters_V[self.ids[token_index]]:
            n_before -= 1  # a token of continuation bytes only lies inside the character begun before it
        return Location(id, source, offset + n_before)

    def _characters_before(self, number: int, n_tokens: int) -> int:
        """Characters in the first `n_tokens` of a document.  Those of its whole blocks are summed once and kept."""
        start = int(self.starts[number])
        stop = int(self.starts[number + 1]) if number + 1 < self.n_documents else self.n_tokens
        if number not in self._sums_by_document:
            sizes = self.characters_V[self.ids[start:stop]]
            self._sums_by_document[number] = np.cumsum(np.add.reduceat(sizes, np.arange(0, len(sizes), BLOCK_TOKENS)))
        n_blocks = n_tokens // BLOCK_TOKENS
        in_blocks = int(self._sums_by_document[number][n_blocks - 1]) if n_blocks else 0
        rest = self.ids[start + n_blocks * BLOCK_TOKENS : start + n_tokens]
        return in_blocks + int(self.characters_V[rest].sum())


def _read_header(path: Path) -> tuple[Any, ...]:
    try:
        with path.open("rb") as file:
            raw = file.read(HEADER_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Encode the text first.") from None
    if len(raw) < HEADER_BYTES or not raw.startswith(MAGIC):
        raise DataError(f"{path} is not a token shard (it does not begin with {MAGIC.decode()})")
    header = HEADER.unpack_from(raw)
    if header[1] != VERSION:
        raise DataError(
            f"{path} has shard version {header[1]}, this Glasshouse reads {VERSION}. Encode the text again."
        )
    return header
