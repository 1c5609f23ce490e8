import io
from itertools import pairwise

import pytest
from rich.console import Console

from glasshouse.tokenizer import Tokenizer, show_tokens


def printed(tokenizer: Tokenizer, text: str, **options: bool) -> str:
    console = Console(file=io.StringIO(), width=200, no_color=True, force_terminal=False)
    console.print(show_tokens(tokenizer, text, **options))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_text_ids_and_numbers_are_shown(bpe: Tokenizer) -> None:
    text, ids, numbers = printed(bpe, "def f(x):").splitlines()
    assert text == "def f(x):"
    assert list(map(int, ids.split())) == bpe.encode("def f(x):")
    assert numbers.startswith(f"{len(bpe.encode('def f(x):'))} tokens · 9 bytes · ")


def test_neighbours_differ_in_colour(bpe: Tokenizer) -> None:
    shown = show_tokens(bpe, "return None")
    n_tokens = len(bpe.encode("return None"))
    styles = [str(span.style) for span in shown.spans if span.style != "dim"]
    assert styles == styles[:n_tokens] * 2  # the text, then the ids
    assert all(a != b for a, b in pairwise(styles[:n_tokens]))


def test_borders_are_drawn_where_there_is_no_colour(bpe: Tokenizer) -> None:
    first = printed(bpe, "return None", has_borders=True).splitlines()[0]
    assert first.split("│") == [bpe.decode([i]) for i in bpe.encode("return None")]


def test_a_text_cannot_drive_the_terminal(bpe: Tokenizer) -> None:
    output = printed(bpe, "a\x1b[2Jb\r\u202e[bold]\t\n")
    assert "\x1b" not in output and "\u202e" not in output
    assert "\\x1b" in output and "[bold]" in output.replace("\n", "") and "→" in output and "⏎" in output


def test_parts_of_a_character_are_shown_in_hexadecimal(bpe: Tokenizer) -> None:
    assert "‹" in printed(bpe, "漢")


@pytest.mark.parametrize("text", ["", "x"])
def test_nothing_and_one_are_counted_rightly(char: Tokenizer, text: str) -> None:
    assert printed(char, text).splitlines()[-1].startswith("1 token · 1 byte" if text else "0 tokens · 0 bytes")


def test_unknown_characters_are_counted_and_shown(char: Tokenizer) -> None:
    output = printed(char, "漢字")
    assert "漢字" in output and "2 unknown" in output
