import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse.corpus import encoding
from glasshouse.corpus.encoding import Decoder, Encoding, sniff


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"plain", "utf-8"),
        ("größer €".encode(), "utf-8"),
        ("größer".encode("utf-8-sig"), "utf-8-sig"),
        ("hello wörld".encode("utf-16"), "utf-16"),
        ("hello world".encode("utf-16-le"), "utf-16-le"),
        ("hello world".encode("utf-16-be"), "utf-16-be"),
        ("hello".encode("utf-32"), "utf-32"),
        ("caf\xe9 au lait".encode("latin-1"), "cp1252"),
        ("# -*- coding: iso-8859-2 -*-\nx = 'č'\n".encode("iso-8859-2"), "iso-8859-2"),
        ('<meta charset="windows-1251"> Привет'.encode("cp1251"), "windows-1251"),
        ("größer, größer, größer ".encode() + b"\xff", "utf-8"),
        (b"", "utf-8"),
    ],
)
def test_sniff_names_the_encoding(content: bytes, name: str) -> None:
    found = sniff(content, is_whole=True)
    assert found is not None and found.name == name


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0", b"\x7fELF\x02\x01\x01\0", bytes(range(256)) * 4])
def test_sniff_refuses_binary(content: bytes) -> None:
    assert sniff(content, is_whole=True) is None


def test_a_character_cut_by_the_end_of_the_sample_is_not_an_error() -> None:
    assert sniff("aé".encode()[:2], is_whole=False) == Encoding("utf-8")


@given(st.text(), st.integers(1, 7))
def test_pieces_joined_are_the_text(text: str, n_bytes: int) -> None:
    content = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "PIECE_BYTES", n_bytes)
        decoder = Decoder(Encoding("utf-8"))
        pieces = list(decoder.pieces(content[:n_bytes], io.BytesIO(content[n_bytes:])))
    assert "".join(pieces).encode() == content
    assert decoder.n_replaced == 0


@given(st.binary(max_size=40), st.integers(1, 7))
def test_any_bytes_decode_as_python_replaces_them(content: bytes, n_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "PIECE_BYTES", n_bytes)
        decoder = Decoder(Encoding("utf-8"))
        text = "".join(decoder.pieces(content[:n_bytes], io.BytesIO(content[n_bytes:])))
    assert text == content.decode("utf-8", "replace")
