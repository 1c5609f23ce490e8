"""Adapter of `zstandard` (extra `corpus`): a .zst file as a stream of its decompressed bytes."""

import io
from typing import IO, Any, cast

from glasshouse.core.extras import require


def require_zstd() -> Any:
    return require("zstandard", "corpus", "reading .zst files")


def open_zstd(raw: IO[bytes]) -> io.BufferedIOBase:
    """Decompressed bytes of every frame in `raw`, streamed."""
    return cast(io.BufferedIOBase, require_zstd().ZstdDecompressor().stream_reader(raw, read_across_frames=True))


def zstd_errors() -> tuple[type[Exception], ...]:
    return (require_zstd().ZstdError,)
