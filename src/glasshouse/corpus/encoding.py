"""Bytes into text, in pieces: which encoding a file is in, and decoding that never fails and counts what it replaced.

Order of evidence: byte order mark; UTF-16 by its zero bytes; a declared encoding (PEP 263 line, HTML charset) that
decodes; UTF-8; else Windows-1252, which reads Latin-1 and every Western file of that age.  A zero byte, or more than
2 % control characters, makes a file binary.
Left out: telling legacy non-Western encodings apart without a declaration (convert such files to UTF-8 first).
"""

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

SNIFF_BYTES = 1 << 16
PIECE_BYTES = 1 << 20
MARKS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
DECLARED = re.compile(rb"(?:coding[:=]\s*|charset\s*=\s*[\"']?\s*)([-\w.]+)")
CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n\r\f\v\b\x1b")) + b"\x7f"


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec's name, and why it was taken where that is worth recording (empty for clean UTF-8)."""

    name: str
    note: str = ""


def sniff(sample: bytes, is_whole: bool) -> Encoding | None:
    """The encoding of a file that starts with `sample`; None for a binary file."""
    for mark, name in MARKS:
        if sample.startswith(mark):
            return Encoding(name)
    if wide := _utf16_by_zeros(sample):
        return wide
    if b"\0" in sample or len(sample.translate(None, CONTROL_BYTES)) < 0.98 * len(sample):
        return None
    if _decodes(sample, "utf-8", is_whole):
        return Encoding("utf-8")
    declared = DECLARED.search(sample[:2048])
    name = declared.group(1).decode("ascii").lower() if declared else ""
    if name and _decodes(sample, name, is_whole):
        return Encoding(name, f"decoded as {name}, as the file declares")
    return _utf8_or_western(sample)


def _utf16_by_zeros(sample: bytes) -> Encoding | None:
    """UTF-16 without a mark: Latin text has a zero in every second byte."""
    half = len(sample) // 2
    if half < 4:
        return None
    odd, even = sample[1::2].count(0), sample[::2].count(0)
    if odd > 0.6 * half and even < 0.02 * half:
        return Encoding("utf-16-le", "UTF-16 without a byte order mark")
    if even > 0.6 * half and odd < 0.02 * half:
        return Encoding("utf-16-be", "UTF-16 without a byte order mark")
    return None


def _decodes(sample: bytes, name: str, is_whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder(name)("strict").decode(sample, is_whole)
    except (LookupError, UnicodeError, ValueError):
        return False
    return True


def _utf8_or_western(sample: bytes) -> Encoding:
    """Invalid UTF-8: damaged UTF-8 if most of its non-ASCII is valid, else Windows-1252."""
    text = sample.decode("utf-8", "replace")
    n_bad = text.count("\ufffd")
    n_good = sum(character > "\x7f" for character in text) - n_bad
    if n_good > n_bad:
        return Encoding("utf-8", "invalid UTF-8")
    return Encoding("cp1252", "not valid UTF-8, decoded as Windows-1252")


class Decoder:
    """Decodes a stream in pieces; `n_replaced` counts the characters that had to be replaced (U+FFFD)."""

    def __init__(self, encoding: Encoding) -> None:
        make = codecs.getincrementaldecoder(encoding.name)
        self._strict, self._lenient = make("strict"), make("replace")
        self.n_replaced = 0

    def pieces(self, first: bytes, stream: io.BufferedIOBase) -> Iterator[str]:
        """Text of `first` and what follows.  What was read before an error is given before it is raised."""
        chunk = first
        while chunk:
            try:
                following = stream.read1(PIECE_BYTES)  # `read` of a damaged archive would lose all up to the damage
            except Exception:
                yield self._decode(chunk, is_last=True)
                raise
            if text := self._decode(chunk, is_last=not following):
                yield text
            chunk = following

    def _decode(self, chunk: bytes, is_last: bool) -> str:
        state = self._strict.getstate()
        try:
            return self._strict.decode(chunk, is_last)
        except UnicodeError:
            self._lenient.setstate(state)
            text = self._lenient.decode(chunk, is_last)
            self._strict.setstate(self._lenient.getstate())
            self.n_replaced += text.count("\ufffd")
            return text
