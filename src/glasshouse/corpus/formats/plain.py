"""Plain text, Markdown, reStructuredText, source code: anything that is text, cut at paragraph boundaries."""

from collections.abc import Iterator

from glasshouse.corpus.formats.context import ReadContext, open_text
from glasshouse.corpus.passage import Passage, cut_stream
from glasshouse.corpus.sources import SourceFile


def read_plain(file: SourceFile, context: ReadContext) -> Iterator[Passage]:
    with open_text(file, context) as pieces:
        if pieces is not None:
            for offset, text in cut_stream(pieces, context.max_document_chars):
                yield Passage(text, offset)
