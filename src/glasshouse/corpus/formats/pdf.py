"""PDF into text with `pypdf` (extra `corpus`), page by page.  Offsets count in the extracted text.

Left out: scanned pages (no text in them), words hyphenated over lines, tables.
"""

import io
import logging
from collections.abc import Iterator
from typing import Any

from glasshouse.core.extras import require
from glasshouse.corpus.formats.context import ReadContext, read_whole
from glasshouse.corpus.passage import Passage, cut_stream
from glasshouse.corpus.sources import SourceFile


def read_pdf(file: SourceFile, context: ReadContext) -> Iterator[Passage]:
    pypdf = require("pypdf", "corpus", "reading PDF")
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it warns once for each oddity of each file
    content = read_whole(file, context)
    try:
        reader = pypdf.PdfReader(io.BytesIO(content))
        is_locked = reader.is_encrypted and not reader.decrypt("")
        n_pages = 0 if is_locked else len(reader.pages)
    except Exception as error:  # a damaged PDF fails inside pypdf in any way at all
        context.problem(file, f"damaged PDF: {error}")
        return
    if is_locked:
        context.problem(file, "PDF locked by a password, not read")
        return
    n_chars = 0
    for offset, text in cut_stream(_pages(reader, n_pages, file, context), context.max_document_chars):
        n_chars += len(text.strip())
        yield Passage(text, offset)
    if n_chars == 0:
        context.problem(file, f"no text in {n_pages} pages (scanned?)")


def _pages(reader: Any, n_pages: int, file: SourceFile, context: ReadContext) -> Iterator[str]:
    for number in range(n_pages):
        try:
            text = reader.pages[number].extract_text()
        except Exception as error:
            context.problem(file, f"page {number + 1} cannot be read: {error}")
            continue
        if text.strip():
            yield text.strip() + "\n\n"
