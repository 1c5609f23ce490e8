from pathlib import Path

from glasshouse.corpus.problem import Problem
from glasshouse.corpus.reader import read


def test_columns_delimiters_quotes_and_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('title;text\nA;"two\nlines; one field"\nshort\nB;b\n')
    (tmp_path / "b.tsv").write_text('sentence\tlabel\n"odd quote\t1\n')
    (tmp_path / "c.csv").write_text("text,n\n" + "x" * 200_000 + ",1\n")
    problems: list[Problem] = []
    documents = list(read([str(tmp_path)], problems.append, max_document_chars=1_000_000))
    assert [document.text for document in documents] == ["two\nlines; one field", "b", '"odd quote\n\n1', "x" * 200_000]
    assert [document.meta["line"] for document in documents] == [2, 5, 2, 2]
    assert [(problem.line, problem.reason) for problem in problems] == [(4, "row of 1 fields under a header of 2")]
