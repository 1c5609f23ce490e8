from hypothesis import given
from hypothesis import strategies as st

from glasshouse.corpus.passage import bounded_lines, cut_stream


@given(st.lists(st.text(alphabet="ab \n\r.é", max_size=60), max_size=12), st.integers(2, 25))
def test_passages_joined_are_the_text_and_offsets_lead_to_them(pieces: list[str], max_chars: int) -> None:
    text = "".join(pieces)
    passages = list(cut_stream(pieces, max_chars))
    assert "".join(passage for _, passage in passages) == text
    for offset, passage in passages:
        assert 0 < len(passage) <= max_chars
        assert text[offset : offset + len(passage)] == passage


def test_cut_prefers_top_level_gaps_then_paragraphs_then_lines() -> None:
    text = "one two\nthree\n\nfour five six\n\n\nseven eight\n\nnine"
    assert next(passage for _, passage in cut_stream([text], 40)) == "one two\nthree\n\nfour five six\n\n\n"
    assert next(passage for _, passage in cut_stream(["aaaa bbbb\ncccc dddd eeee"], 16)) == "aaaa bbbb\n"


def test_line_end_of_two_characters_is_not_cut_apart() -> None:
    passages = [passage for _, passage in cut_stream(["a" * 9 + "\r\n" + "b" * 20], 10)]
    assert passages[0] == "a" * 9


@given(st.lists(st.text(alphabet="ab\n\r\u2028", max_size=20), max_size=10), st.integers(1, 8))
def test_lines_are_those_of_the_text_whatever_the_pieces(pieces: list[str], max_chars: int) -> None:
    text = "".join(pieces)
    expected = [part + "\n" for part in text.split("\n")[:-1]] + ([last] if (last := text.split("\n")[-1]) else [])
    lines = list(bounded_lines(pieces, max_chars))
    assert [number for number, _, _ in lines] == list(range(1, len(expected) + 1))
    for (_, offset, line), wanted in zip(lines, expected, strict=True):
        assert line == (wanted if len(wanted) <= max_chars else None)
        assert text[offset : offset + len(wanted)] == wanted
