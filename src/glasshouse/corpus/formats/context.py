"""What every format reader is given besides the file, and the one way from a file's bytes to pieces of text."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from glasshouse.core.errors import DataError
from glasshouse.corpus.encoding import SNIFF_BYTES, Decoder, Encoding, sniff
from glasshouse.corpus.problem import OnProblem, Problem
from glasshouse.corpus.sources import OnBytes, SourceFile

MAX_RECORD_CHARS = 64_000_000  # one JSON value or CSV line: beyond this it is damage, and memory stays flat
MAX_WHOLE_BYTES = 256_000_000  # formats that must be read whole (HTML, PDF, compressed Parquet)


@dataclass(frozen=True, slots=True)
class ReadContext:
    """`text_field`: the key or column that holds the text; None finds it (see `formats/record.py`)."""

    on_problem: OnProblem
    max_document_chars: int
    text_field: str | None = None
    on_bytes: OnBytes | None = None

    def problem(self, file: SourceFile, reason: str, line: int | None = None) -> None:
        self.on_problem(Problem(file.source, reason, line))


@contextmanager
def open_text(file: SourceFile, context: ReadContext) -> Iterator[Iterator[str] | None]:
    """Pieces of decoded text; None (recorded) for a binary file.  Replaced characters are recorded at the end."""
    with file.open(context.on_bytes) as stream:
        sample = read_up_to(stream, SNIFF_BYTES)
        encoding = sniff(sample, is_whole=len(sample) < SNIFF_BYTES)
        if encoding is None:
            context.problem(file, "binary file, not read")
            yield None
            return
        yield _recorded_pieces(file, context, encoding, sample, stream)


def _recorded_pieces(
    file: SourceFile, context: ReadContext, encoding: Encoding, sample: bytes, stream: io.BufferedIOBase
) -> Iterator[str]:
    decoder = Decoder(encoding)
    try:
        yield from decoder.pieces(sample, stream)
    finally:
        replaced = f"{decoder.n_replaced} characters replaced by U+FFFD" if decoder.n_replaced else ""
        if encoding.note or replaced:
            note = encoding.note or f"invalid {encoding.name.upper()}"
            context.problem(file, "; ".join(filter(None, (note, replaced))))


def read_up_to(stream: io.BufferedIOBase, n_bytes: int) -> bytes:
    """`n_bytes`, fewer only at the end: one `read` of a decompressor may give less than asked."""
    parts, n_left = [], n_bytes
    while n_left > 0 and (part := stream.read(n_left)):
        parts.append(part)
        n_left -= len(part)
    return b"".join(parts)


def read_whole(file: SourceFile, context: ReadContext) -> bytes:
    """All bytes of a file whose format cannot be streamed; `DataError` above `MAX_WHOLE_BYTES`."""
    with file.open(context.on_bytes) as stream:
        content = read_up_to(stream, MAX_WHOLE_BYTES + 1)
    if len(content) > MAX_WHOLE_BYTES:
        raise DataError(f"larger than {MAX_WHOLE_BYTES // 1_000_000} MB, which this format must be read whole for")
    return content
