from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshouse.batch import EncodedDocument, TokenShard, encode_documents, write_shard
from glasshouse.core.errors import DataError
from glasshouse.core.records import Document

TEXTS = ["def copy(a):", "", "naïve 東京 🎈!", "last"]


def documents() -> list[Document]:
    return [Document(f"d{i}", text, f"file{i}.py", 100 * i) for i, text in enumerate(TEXTS)]


def test_ids_come_back_between_end_of_text(tmp_path, encoder):
    shard = write_shard(tmp_path / "s.bin", encode_documents(documents(), encoder), encoder)
    expected = [i for text in TEXTS for i in [256, *text.encode()]] + [256]
    again = TokenShard(tmp_path / "s.bin", encoder.hash)
    assert again.ids.tolist() == expected == shard.ids.tolist()
    assert again.ids.dtype == np.uint16
    assert (again.n_documents, again.n_bytes) == (4, sum(len(t.encode()) for t in TEXTS))
    assert again.n_characters == sum(map(len, TEXTS))


def test_every_token_leads_back_to_its_character(tmp_path, encoder):
    shard = write_shard(tmp_path / "s.bin", encode_documents(documents(), encoder), encoder)
    at = 0
    for number, text in enumerate(TEXTS):
        assert shard.locate(at).document_id == f"d{number}"
        at += 1
        for character_index, character in enumerate(text):
            for _ in character.encode():  # every byte of a character leads to that character
                found = shard.locate(at)
                assert (found.document_id, found.source) == (f"d{number}", f"file{number}.py")
                assert found.offset == 100 * number + character_index
                at += 1
    with pytest.raises(DataError, match="outside"):
        shard.locate(shard.n_tokens)


def test_places_deep_in_a_long_document(tmp_path, encoder):
    text = "aé東🎈" * 3000  # many blocks, none of whose edges are those of characters
    documents = [Document("short", "b" * 10, "s"), Document("long", text, "l", 7), Document("last", "c", "t")]
    shard = write_shard(tmp_path / "s.bin", encode_documents(documents, encoder), encoder)
    begin = 12
    for at in (0, 1, 4094, 4095, 4096, 8191, 8192, 8193, 20_000, len(text.encode()) - 1):
        n_characters = len(text.encode()[: at + 1].decode(errors="ignore"))
        is_whole = text.encode()[: at + 1].decode(errors="replace")[-1] != "\ufffd"
        assert shard.locate(begin + at).offset == 7 + n_characters - is_whole
        assert shard.locate(begin + at).source == "l"
    assert shard.locate(shard.n_tokens - 2).document_id == "last"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=6))
def test_round_trip_of_any_text(tmp_path_factory, texts):
    from glasshouse.batch.shard import token_sizes

    class Bytes:
        hash, vocab_size, end_of_text_id, special_ids = "00" * 32, 257, 256, {}

        def encode_batch(self, texts):
            return [list(t.encode("utf-8", "replace")) for t in texts]

        def token_bytes(self, id):
            return bytes([id])

    encoder = Bytes()
    folder = tmp_path_factory.mktemp("shard")
    made = [Document(str(i), text, "s") for i, text in enumerate(texts)]
    shard = write_shard(folder / "s.bin", encode_documents(made, encoder), encoder)
    starts = [*shard.starts.tolist(), shard.n_tokens - 1]
    back = [bytes(shard.ids[a + 1 : b].tolist()).decode() for a, b in pairwise(starts)]
    assert back == [t.encode("utf-8", "replace").decode() for t in texts]
    assert token_sizes(encoder)[ord("a")].tolist() == [1, 1] and token_sizes(encoder)[0x80].tolist() == [1, 0]


def test_another_tokenizer_is_refused(tmp_path, encoder, other_encoder):
    write_shard(tmp_path / "s.bin", encode_documents(documents(), encoder), encoder)
    with pytest.raises(DataError, match=r"written with tokenizer .* encode the text again"):
        TokenShard(tmp_path / "s.bin", other_encoder.hash)


def test_damage_is_refused(tmp_path, encoder):
    path = tmp_path / "s.bin"
    write_shard(path, encode_documents(documents(), encoder), encoder)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(DataError, match="damaged"):
        TokenShard(path)
    path.write_bytes(b"not a shard" * 30)
    with pytest.raises(DataError, match="not a token shard"):
        TokenShard(path)
    with pytest.raises(DataError, match="cannot be read"):
        TokenShard(tmp_path / "absent.bin")


def test_a_failing_writer_leaves_the_old_shard(tmp_path, encoder):
    path = tmp_path / "s.bin"
    write_shard(path, encode_documents(documents(), encoder), encoder)
    before = path.read_bytes()
    with pytest.raises(DataError, match="vocabulary has 258"):
        write_shard(path, [EncodedDocument("x", [1, 999], "s")], encoder)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s.bin"]


def test_documents_are_numbered_from_their_end_of_text(tmp_path, encoder):
    made = [EncodedDocument("a", [1, 2], "s"), EncodedDocument("b", [3], "s")]
    shard = write_shard(tmp_path / "s.bin", made, encoder)
    assert shard.ids.tolist() == [256, 1, 2, 256, 3, 256]
    assert shard.document_numbers(0, 6).tolist() == [0, 0, 0, 1, 1, 1]
