import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse.core.errors import DataError
from glasshouse.tokenizer import IncrementalDecoder, Tokenizer


@given(st.lists(st.integers(0, 799)))
def test_the_parts_make_the_whole_for_any_ids(bpe: Tokenizer, ids: list[int]) -> None:
    for skips_special in (False, True):
        decoder = IncrementalDecoder(bpe, skips_special=skips_special)
        text = "".join(map(decoder.push, ids)) + decoder.finish()
        assert text == bpe.decode(ids, skips_special=skips_special)


def test_a_character_is_given_when_it_is_whole(bpe: Tokenizer) -> None:
    ids = bpe.encode("漢")
    decoder = IncrementalDecoder(bpe)
    assert [decoder.push(i) for i in ids] == [""] * (len(ids) - 1) + ["漢"]
    assert decoder.finish() == ""


def test_a_character_that_never_became_whole_is_marked(bpe: Tokenizer) -> None:
    decoder = IncrementalDecoder(bpe)
    assert decoder.push(bpe.encode("漢")[0]) == ""
    assert decoder.finish() == "\ufffd"


def test_special_tokens_are_hidden_unless_asked_for(tokenizer: Tokenizer) -> None:
    assert IncrementalDecoder(tokenizer).push(tokenizer.im_end_id) == ""
    assert IncrementalDecoder(tokenizer, skips_special=False).push(tokenizer.im_end_id) == "<|im_end|>"


def test_an_unknown_character_shows(char: Tokenizer) -> None:
    decoder = IncrementalDecoder(char)
    assert "".join(map(decoder.push, char.encode("a漢b"))) == "a\ufffdb"


def test_an_id_of_another_vocabulary_is_refused(bpe: Tokenizer) -> None:
    with pytest.raises(DataError, match="not in this vocabulary"):
        IncrementalDecoder(bpe).push(800)


def test_sentencepiece_streams_as_it_decodes(mistral: Tokenizer) -> None:
    for text in ("Hello, wörld.\n  two  spaces", "漢字 👩‍👧 \U000e0001x", " leading"):
        ids = mistral.encode(text)
        decoder = IncrementalDecoder(mistral)
        assert "".join(map(decoder.push, ids)) + decoder.finish() == text
    cut = mistral.encode("\U000e0001")[:-1]
    decoder = IncrementalDecoder(mistral)
    assert "".join(map(decoder.push, cut)) + decoder.finish() == mistral.decode(cut)
