"""HTML into text with `selectolax` (extra `corpus`): blocks become paragraphs, `pre` keeps its lines and spaces.

Left out: telling an article from its navigation (a later form reads web pages with `trafilatura`).
"""

import io
import re
from collections.abc import Iterator
from typing import Any

from glasshouse.core.extras import require
from glasshouse.corpus.encoding import Decoder, sniff
from glasshouse.corpus.formats.context import ReadContext, read_whole
from glasshouse.corpus.passage import Passage, cut_stream
from glasshouse.corpus.sources import SourceFile

UNSEEN = frozenset({"head", "script", "style", "noscript", "template", "svg", "math", "iframe", "canvas", "object"})
INLINE_TAGS = """
a abbr acronym b bdi bdo big button cite code data del dfn em font i img input ins kbd label mark math meter nobr
output q rp rt ruby s samp select small span strike strong sub sup time tt u var wbr
"""
INLINE = frozenset(INLINE_TAGS.split())
CELLS = ("td", "th")
SPACES = re.compile(r"[ \t\n\r\f]+")
GAPS = re.compile(r"[ \t]*\n[ \t]*(?:\n[ \t]*)+")


def read_html(file: SourceFile, context: ReadContext) -> Iterator[Passage]:
    content = read_whole(file, context)
    encoding = sniff(content, is_whole=True)
    if encoding is None:
        context.problem(file, "binary file, not read")
        return
    decoder = Decoder(encoding)
    markup = "".join(decoder.pieces(content, io.BytesIO()))
    if encoding.note or decoder.n_replaced:
        context.problem(file, f"{encoding.note or 'invalid text'}; {decoder.n_replaced} characters replaced")
    for offset, text in cut_stream([html_text(markup)], context.max_document_chars):
        yield Passage(text, offset)


def html_text(markup: str) -> str:
    """`<p>One <b>two</b></p><p>three</p>` -> `One two\\n\\nthree\\n`."""
    parser = require("selectolax.lexbor", "corpus", "reading HTML").LexborHTMLParser(markup)
    pieces: list[str] = []
    if parser.body is not None:
        _collect(parser.body, pieces)
    text = GAPS.sub("\n\n", "".join(pieces)).strip("\n")
    return "\n".join(line.rstrip(" ") for line in text.split("\n")) + "\n" if text.strip() else ""


def _collect(root: Any, pieces: list[str]) -> None:
    """Walk in reading order without recursion: real pages nest thousands deep.  The stack holds nodes and line ends."""
    waiting: list[Any] = [(root, False)]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            pieces.append(item)
            continue
        node, is_preformatted = item
        tag = node.tag
        if tag == "-text":
            _add_text(node.text_content or "", is_preformatted, pieces)
            continue
        if tag in UNSEEN or tag.startswith(("-", "!", "_")):
            continue
        if tag == "br":
            pieces.append("\n")
            continue
        if tag in CELLS:
            _add_text(" ", False, pieces)
        else:
            gap = _gap(tag)
            pieces.append(gap)
            waiting.append(gap)
        children = [(child, is_preformatted or tag in ("pre", "textarea")) for child in node.iter(include_text=True)]
        waiting.extend(reversed(children))


def _gap(tag: str) -> str:
    if tag in INLINE:
        return ""
    return "\n" if tag in ("li", "tr", "dt", "dd", "option") else "\n\n"


def _add_text(text: str, is_preformatted: bool, pieces: list[str]) -> None:
    if is_preformatted:
        pieces.append(text)
        return
    text = SPACES.sub(" ", text)
    last = next((piece for piece in reversed(pieces) if piece), "\n")
    pieces.append(text.lstrip(" ") if last[-1] in " \n" else text)
