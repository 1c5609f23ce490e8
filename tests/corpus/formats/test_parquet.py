import gzip
from pathlib import Path

import pytest

from glasshouse.corpus.problem import Problem
from glasshouse.corpus.reader import read

pyarrow = pytest.importorskip("pyarrow")


def test_rows_columns_and_damage(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"n": list(range(600)), "text": [f"row {n}" for n in range(600)]})
    parquet.write_table(table, tmp_path / "a.parquet")
    parquet.write_table(pyarrow.table({"q": ["who", None], "a": ["me", None]}), tmp_path / "b.parquet")
    (tmp_path / "c.parquet.gz").write_bytes(gzip.compress((tmp_path / "b.parquet").read_bytes()))
    (tmp_path / "d.parquet").write_bytes(b"PAR1 nothing")
    parquet.write_table(pyarrow.table({"n": [1]}), tmp_path / "e.parquet")
    problems: list[Problem] = []
    documents = list(read([str(tmp_path)], problems.append))
    assert [document.text for document in documents] == [f"row {n}" for n in range(600)] + ["who\n\nme"] * 2
    assert documents[7].meta == {"row": 7}
    assert len({document.id for document in documents}) == 602
    assert [problem.reason.split(":")[0] for problem in problems] == [
        "row 1",
        "row 1",
        "damaged Parquet",
        "no text column; columns",
    ]
