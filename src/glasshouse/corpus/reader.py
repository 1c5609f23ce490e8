"""`read`: any source the user can name into documents, streaming, in one fixed order.

A document's id is the file's name from the named source on, with `#<offset>` (or `#row<n>`) where a file gives several;
the same text in the same place keeps its id on every machine.  Faults are reported through `on_problem`, never raised,
except a source that names nothing and a whole in which nothing could be read.
"""

from collections.abc import Callable, Iterator, Sequence

from glasshouse.core.errors import DataError, MissingExtraError
from glasshouse.core.records import Document
from glasshouse.corpus.formats.context import ReadContext
from glasshouse.corpus.formats.delimited import read_delimited
from glasshouse.corpus.formats.html import read_html
from glasshouse.corpus.formats.json_records import read_json, read_jsonl
from glasshouse.corpus.formats.parquet import read_parquet
from glasshouse.corpus.formats.pdf import read_pdf
from glasshouse.corpus.formats.plain import read_plain
from glasshouse.corpus.passage import Passage, cut_stream
from glasshouse.corpus.problem import OnProblem, Problem
from glasshouse.corpus.sources import STDLIB, OnBytes, SourceFile, find_files, unique_files
from glasshouse.corpus.stdlib import stdlib_documents

FormatReader = Callable[[SourceFile, ReadContext], Iterator[Passage]]

# Every other suffix is read as plain text if it is text.
FORMATS: dict[str, FormatReader] = {
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".html": read_html,
    ".htm": read_html,
    ".xhtml": read_html,
    ".parquet": read_parquet,
    ".pdf": read_pdf,
}
MAX_DOCUMENT_CHARS = 100_000


def read(
    sources: Sequence[str],
    on_problem: OnProblem,
    *,
    max_document_chars: int = MAX_DOCUMENT_CHARS,
    text_field: str | None = None,
    on_bytes: OnBytes | None = None,
) -> Iterator[Document]:
    """Documents of all sources in turn.  Raises `DataError` before the first document if a source names nothing."""
    context = ReadContext(on_problem, max_document_chars, text_field, on_bytes)
    for _, documents in read_each(sources, context):
        yield from documents


def read_each(sources: Sequence[str], context: ReadContext) -> Iterator[tuple[str, Iterator[Document]]]:
    """(source, its documents) for each source; each must be read to its end before the next is asked for."""
    groups = list_files(sources, context.on_problem)
    tally = _Tally(context.on_problem)
    counted = ReadContext(tally.problem, context.max_document_chars, context.text_field, context.on_bytes)
    for source, files in zip(sources, groups):
        documents = _read_stdlib(counted) if source == STDLIB else _read_files(files, counted)
        yield source, tally.count(documents)
    if tally.n_documents == 0:
        raise DataError(f"nothing readable in {', '.join(sources)}: {tally.explain()}")


def list_files(sources: Sequence[str], on_problem: OnProblem) -> list[list[SourceFile]]:
    """The files of each source (none for `stdlib:`), no file twice."""
    if not sources:
        raise DataError(
            'no source given. A source is a folder, a file, a pattern such as "texts/**/*.md", or "stdlib:".'
        )
    groups = [[] if source == STDLIB else find_files(source, on_problem) for source in sources]
    return unique_files(groups, on_problem)


class _Tally:
    """Counts what was read and keeps the first problems, for the message if nothing could be read at all."""

    def __init__(self, on_problem: OnProblem) -> None:
        self._on_problem = on_problem
        self._first: list[str] = []
        self.n_documents = self.n_problems = 0

    def problem(self, problem: Problem) -> None:
        self.n_problems += 1
        if len(self._first) < 3:
            self._first.append(f"{problem.source}: {problem.reason}")
        self._on_problem(problem)

    def count(self, documents: Iterator[Document]) -> Iterator[Document]:
        for document in documents:
            self.n_documents += 1
            yield document

    def explain(self) -> str:
        if not self._first:
            return "the files are empty."
        more = self.n_problems - len(self._first)
        return "; ".join(self._first) + (f"; and {more} more problems." if more else ".")


def _read_stdlib(context: ReadContext) -> Iterator[Document]:
    for document in stdlib_documents():
        for offset, text in cut_stream([document.text], context.max_document_chars):
            id = document.id if offset == 0 else f"{document.id}#{offset}"
            yield Document(id, text, document.source, document.offset + offset, document.meta)
        if context.on_bytes is not None:
            context.on_bytes(len(document.text))


def _read_files(files: Sequence[SourceFile], context: ReadContext) -> Iterator[Document]:
    for file in files:
        reader = FORMATS.get(file.suffix, read_plain)
        try:
            for passage in reader(file, context):
                yield from _documents(file, passage, context.max_document_chars)
        except MissingExtraError:
            raise
        except (DataError, OSError) as error:
            context.problem(file, f"cannot be read: {getattr(error, 'strerror', None) or error}")


def _documents(file: SourceFile, passage: Passage, max_chars: int) -> Iterator[Document]:
    """A passage as one document, or as several if it is a record with a text above `max_chars`."""
    place = f"row{passage.meta['row']}" if "row" in passage.meta else str(passage.offset)
    id = file.name if place == "0" and not passage.meta else f"{file.name}#{place}"
    if len(passage.text) <= max_chars:
        yield Document(id, passage.text, file.source, passage.offset, passage.meta)
        return
    for start, text in cut_stream([passage.text], max_chars):
        piece_id = f"{id}+{start}" if start else id
        yield Document(piece_id, text, file.source, passage.offset, {**passage.meta, "start": start})
