"""Parquet rows with `pyarrow` (extra `corpus`), a batch of rows at a time, text columns only."""

from collections.abc import Iterator
from typing import Any

from glasshouse.core.extras import require
from glasshouse.corpus.formats.context import ReadContext, read_whole
from glasshouse.corpus.formats.record import TEXT_FIELDS, explain_no_text, record_text
from glasshouse.corpus.passage import Passage
from glasshouse.corpus.sources import SourceFile

ROWS = 256


def read_parquet(file: SourceFile, context: ReadContext) -> Iterator[Passage]:
    """`offset` is 0 and `meta["row"]` counts from 0: a Parquet file has no characters to count."""
    arrow = require("pyarrow", "corpus", "reading Parquet")
    parquet = require("pyarrow.parquet", "corpus", "reading Parquet")
    try:
        origin = arrow.BufferReader(read_whole(file, context)) if file.compression else str(file.path)
        with parquet.ParquetFile(origin) as table:
            yield from _rows(table, arrow, file, context)
    except (arrow.ArrowException, OSError) as error:
        context.problem(file, f"damaged Parquet: {str(error).splitlines()[0]}")


def _rows(table: Any, arrow: Any, file: SourceFile, context: ReadContext) -> Iterator[Passage]:
    columns = _text_columns(table.schema_arrow, arrow, context.text_field)
    if not columns:
        context.problem(file, f"no text column; columns: {', '.join(table.schema_arrow.names[:8])}")
        return
    row = 0
    for batch in table.iter_batches(batch_size=ROWS, columns=columns):
        for record in batch.to_pylist():
            text = record_text(record, context.text_field)
            if text is None:
                context.problem(file, f"row {row}: {explain_no_text(record, context.text_field)}")
            else:
                yield Passage(text, 0, {"row": row})
            row += 1
    if not file.compression and context.on_bytes is not None:
        context.on_bytes(file.n_bytes)


def _text_columns(schema: Any, arrow: Any, text_field: str | None) -> list[str]:
    types = arrow.types
    texts = [f.name for f in schema if types.is_string(f.type) or types.is_large_string(f.type)]
    wanted = [text_field] if text_field else [name for name in TEXT_FIELDS if name in texts][:1]
    return [name for name in wanted if name in texts] if wanted else texts
