"""Coloured tokens for the terminal: `glass tokenizer show "text"`.

Neighbours differ in colour, so that borders are seen; the ids follow in the same colours.  Where colours cannot be
seen (NO_COLOR, a pipe) `has_borders` puts a thin bar between tokens instead.  Control characters are shown as escapes:
a text must not be able to drive the terminal.
"""

from rich.text import Text

from glasshouse.core.terminal import format_count
from glasshouse.tokenizer.measure import readable
from glasshouse.tokenizer.tokenizer import Tokenizer

# Five grounds in turn, dark text on light: readable on dark and light terminals.  Each falls to another colour where a
# terminal has only 16 (softer pastels all fall to grey).
STYLES = tuple(f"black on {ground}" for ground in ("#87ff87", "#ffd75f", "#5fd7d7", "#ff87af", "#d7d7d7"))
BORDER = "│"


def show_tokens(tokenizer: Tokenizer, text: str, *, has_borders: bool = False) -> Text:
    """The text in its tokens, then their ids, then one line of numbers."""
    tokens = tokenizer.tokens_of(text)
    border = Text(BORDER if has_borders else "", style="dim")
    pieces, ids = [], []
    for index, token in enumerate(tokens):
        style = STYLES[index % len(STYLES)]
        shown = readable(token).replace("\t", "→").replace("\n", "⏎\n")
        pieces.append(Text(shown, style=style))
        ids.append(Text(str(token.id), style=style))
    unknown = tokenizer.count_unknown([token.id for token in tokens])
    n_bytes = len(text.encode("utf-8", "replace"))
    numbers = f"{_count(len(tokens), 'token')} · {_count(n_bytes, 'byte')}"
    if tokens:
        numbers += f" · {n_bytes / len(tokens):.2f} bytes a token"
    numbers += f" · {unknown} unknown" if unknown else ""
    numbers += f" · {tokenizer.kind}, {format_count(tokenizer.vocab_size)} in the vocabulary"
    return Text("\n").join([border.join(pieces), Text(" ").join(ids), Text(numbers, style="dim")])


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
