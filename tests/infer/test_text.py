from hypothesis import given
from hypothesis import strategies as st

from glasshouse.infer.text import StopFilter, TextStream

ALPHABET = st.text("abc", max_size=30)


def through(stops: tuple[str, ...], pieces: list[str]) -> tuple[str, bool]:
    stop_filter = StopFilter(stops)
    text = "".join(map(stop_filter.push, pieces)) + stop_filter.finish()
    return text, stop_filter.is_stopped


def by_definition(stops: tuple[str, ...], text: str) -> tuple[str, bool]:
    """Cut before the stop string that is complete first; of several ending there, the longest."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


@given(st.lists(st.text("abc", min_size=1, max_size=4), max_size=3).map(tuple), ALPHABET, st.data())
def test_any_cutting_into_pieces_gives_the_same(stops, text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)])]
    assert through(stops, pieces) == by_definition(stops, text)


def test_nothing_of_a_stop_string_is_let_through_before_it_is_certain():
    stop_filter = StopFilter(("END",))
    assert [stop_filter.push(p) for p in ("the E", "N", "Dive")] == ["the ", "", ""]
    assert stop_filter.is_stopped and stop_filter.finish() == ""


def test_what_only_looked_like_a_stop_string_is_let_through():
    stop_filter = StopFilter(("END",))
    assert [stop_filter.push(p) for p in ("the E", "ast E")] == ["the ", "East "]
    assert stop_filter.finish() == "E"


def test_without_stops_text_passes_at_once():
    assert StopFilter(()).push("abc") == "abc"


def test_a_character_in_pieces_waits_until_it_is_whole(tokenizer):
    ids = [
        id for byte in "é".encode() for id in range(tokenizer.vocab_size) if tokenizer.token_bytes(id) == bytes([byte])
    ]
    stream = TextStream(tokenizer)
    assert [stream.push(id) for id in ids] == ["", "é"]
    cut = TextStream(tokenizer)
    cut.push(ids[0])
    assert cut.finish() == "\ufffd" == cut.text


def test_a_stop_string_may_span_tokens_and_characters(tokenizer):
    stream = TextStream(tokenizer, ("日本",))
    pieces = [stream.push(id) for id in tokenizer.encode("in 日本語")]
    assert "".join(pieces) + stream.finish() == "in " == stream.text
    assert stream.is_stopped
