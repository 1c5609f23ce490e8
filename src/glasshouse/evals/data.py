"""The records of a task: JSON, JSON lines, CSV, TSV, Parquet, or lines of text that belong together, plain or gzipped.

A file's form is its ending (`.jsonl.gz` is JSON lines).  Paths lie below one folder, which nothing leaves.
Left out: files larger than memory (a test set is small).
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.extras import require
from glasshouse.core.files import sha256_file, sha256_text

Record = dict[str, Any]


def find_files(root: Path, pattern: str) -> list[Path]:
    """The files below `root` that a path or a pattern (`blimp/*.jsonl`) names, sorted."""
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise ConfigError(f"{pattern!r}: the path of a task's data is relative, and stays below its folder")
    found = sorted(root.glob(pattern)) if set("*?[") & set(pattern) else [root / pattern]
    files = [path for path in found if path.is_file()]
    if not files:
        raise DataError(
            f"{root / pattern}: no such file. Say where the data is with --data FOLDER (this is looked for below it), "
            "or put it there."
        )
    for path in files:
        if not path.resolve().is_relative_to(root.resolve()):
            raise ConfigError(f"{path} leads out of {root}; a task's data stays below its folder")
    return files


def read_records(path: Path, columns: Sequence[str] = ()) -> list[Record]:
    """All records of a file.  `columns` names those of a table without a line of names."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    is_gzipped = suffixes[-1:] == [".gz"]
    kind = suffixes[-2 if is_gzipped else -1] if len(suffixes) > is_gzipped else ""
    if kind not in READERS:
        raise ConfigError(f"{path}: a task's data ends in {', '.join(READERS)} (or one of these with .gz)")
    if columns and kind not in (".csv", ".tsv"):
        raise ConfigError(f'{path}: "columns" names the columns of a .csv or .tsv file; this one names its own fields')
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if is_gzipped else content
        return READERS[kind](content, columns)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as {kind[1:]}: {error}") from None


def join_lines(files: Mapping[str, Path]) -> list[Record]:
    """Files whose lines belong together: `{"en": en.gz, "de": de.gz}` -> [{"en": ..., "de": ...}, ...]."""
    lines = {name: _text_lines(path) for name, path in files.items()}
    counts = {name: len(found) for name, found in lines.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"files whose lines belong together must have equally many; got {counts}")
    return [dict(zip(lines, together)) for together in zip(*lines.values())]


def hash_files(files: Sequence[Path]) -> str:
    """Of their contents, in order."""
    return sha256_text("\n".join(map(sha256_file, files)))


def _text_lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        return content.decode("utf-8").splitlines()
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as lines of text: {error}") from None


def _jsonl(content: bytes, _: Sequence[str]) -> list[Record]:
    records = []
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            try:
                records.append(_checked(json.loads(line)))
            except (ValueError, DataError) as error:
                raise DataError(f"line {number}: {error}") from None
    return records


def _json(content: bytes, _: Sequence[str]) -> list[Record]:
    found = json.loads(content)
    if not isinstance(found, list):
        raise DataError(f"expected a list of records; it holds {type(found).__name__}")
    return [_checked(record) for record in found]


def _checked(record: Any) -> Record:
    if not isinstance(record, dict):
        raise DataError(f"a record is a JSON object; got {str(record)[:60]!r}")
    return record


def _table(delimiter: str) -> Callable[[bytes, Sequence[str]], list[Record]]:
    def read(content: bytes, columns: Sequence[str]) -> list[Record]:
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
        # In a TSV quotation marks are text (SST-2 has such lines).
        quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
        names = list(columns) or None
        rows: csv.DictReader[str] = csv.DictReader(text, names, delimiter=delimiter, quoting=quoting)
        records: list[Record] = []
        for row in rows:
            if None in row or None in row.values():
                raise DataError(f"line {rows.line_num}: not {len(rows.fieldnames or ())} columns")
            records.append({str(name): value for name, value in row.items()})
        return records

    return read


def _parquet(content: bytes, _: Sequence[str]) -> list[Record]:
    parquet = require("pyarrow.parquet", "corpus", "reading Parquet")
    records: list[Record] = parquet.read_table(io.BytesIO(content)).to_pylist()
    return records


READERS: dict[str, Callable[[bytes, Sequence[str]], list[Record]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".parquet": _parquet,
}
