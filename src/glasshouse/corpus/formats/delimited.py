"""CSV and TSV: the first row names the columns; rows of another length are kept out, each recorded with its line."""

import csv
from collections.abc import Iterable, Iterator

from glasshouse.corpus.formats.context import MAX_RECORD_CHARS, ReadContext, open_text
from glasshouse.corpus.formats.record import explain_no_text, record_text
from glasshouse.corpus.passage import Passage, bounded_lines
from glasshouse.corpus.sources import SourceFile

DELIMITERS = (",", ";", "\t", "|")


def read_delimited(file: SourceFile, context: ReadContext) -> Iterator[Passage]:
    with open_text(file, context) as pieces:
        lines = _Lines(bounded_lines(pieces or (), MAX_RECORD_CHARS), file, context)
        first = next(lines, None)
        if first is None:
            return
        delimiter = "\t" if file.suffix == ".tsv" else max(DELIMITERS, key=first.count)
        csv.field_size_limit(MAX_RECORD_CHARS)  # the default refuses texts above 131,072 characters
        header = next(_csv_rows([first], delimiter))
        yield from _rows(_csv_rows(lines, delimiter), header, lines, file, context)


def _csv_rows(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """Quotes between tabs are as a rule ordinary characters; elsewhere they may hold delimiters and line ends."""
    if delimiter == "\t":
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter)


class _Lines:
    """Lines for `csv`, which remembers where each row began; lines too long are recorded and left out."""

    def __init__(self, lines: Iterator[tuple[int, int, str | None]], file: SourceFile, context: ReadContext) -> None:
        self._lines, self._file, self._context = lines, file, context
        self.number, self.offset, self._is_new_row = 1, 0, True

    def start_row(self) -> None:
        self._is_new_row = True

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        for number, offset, line in self._lines:
            if line is None:
                reason = f"line longer than {MAX_RECORD_CHARS // 1_000_000} million characters"
                self._context.problem(self._file, reason, number)
                continue
            if self._is_new_row:
                self.number, self.offset, self._is_new_row = number, offset, False
            return line
        raise StopIteration


def _rows(
    rows: Iterator[list[str]], header: list[str], lines: _Lines, file: SourceFile, context: ReadContext
) -> Iterator[Passage]:
    while True:
        lines.start_row()
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            context.problem(file, f"not valid CSV: {error}", lines.number)
            continue
        if not row:
            continue
        if len(row) != len(header):
            context.problem(file, f"row of {len(row)} fields under a header of {len(header)}", lines.number)
            continue
        record = dict(zip(header, row))
        text = record_text(record, context.text_field)
        if text is None:
            context.problem(file, explain_no_text(record, context.text_field), lines.number)
        else:
            yield Passage(text, lines.offset, {"line": lines.number})
