import gzip
import json

import pytest

from glasshouse.core.errors import ConfigError, DataError
from glasshouse.evals.data import find_files, hash_files, join_lines, read_records

RECORDS = [{"text": 'a "quoted" one', "label": "0"}, {"text": "Größe, 日本", "label": "1"}]


def write(folder, name):
    path = folder / name
    kind = name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(RECORDS), path)
        return path
    text = {
        "jsonl": "\n".join(map(json.dumps, RECORDS)) + "\n\n",
        "json": json.dumps(RECORDS),
        "csv": 'text,label\n"a ""quoted"" one",0\n"Größe, 日本",1\n',
        "tsv": 'text\tlabel\na "quoted" one\t0\nGröße, 日本\t1\n',
    }[kind]
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet", "a.jsonl.gz", "a.tsv.gz"])
def test_every_form_gives_the_same_records(tmp_path, name):
    assert read_records(write(tmp_path, name)) == RECORDS


def test_columns_of_a_table_without_names(tmp_path):
    (tmp_path / "a.tsv").write_text("x y\t1\n")
    assert read_records(tmp_path / "a.tsv", ("text", "label")) == [{"text": "x y", "label": "1"}]
    with pytest.raises(ConfigError, match="names the columns of a"):
        read_records(write(tmp_path, "a.json"), ("text",))


def test_lines_that_belong_together(tmp_path):
    (tmp_path / "en").write_text("one\ntwo\n")
    (tmp_path / "de.gz").write_bytes(gzip.compress(b"eins\nzwei\n"))
    files = {"en": tmp_path / "en", "de": tmp_path / "de.gz"}
    assert join_lines(files) == [{"en": "one", "de": "eins"}, {"en": "two", "de": "zwei"}]
    (tmp_path / "en").write_text("one\n")
    with pytest.raises(DataError, match="equally many"):
        join_lines(files)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2"), ("a.jsonl", b"[1]\n", "a record is a JSON object"),
        ("a.json", b"{}", "expected a list"), ("a.csv", b"a,b\n1,2,3\n", "line 2: not 2 columns"),
        ("a.jsonl.gz", b"not gzip", "cannot be read"), ("a.txt", b"x", "a task's data ends in"),
        ("a.tsv", b"a\xff\tb\n", "cannot be read"),
    ],
)  # fmt: skip
def test_damaged_files_are_named(tmp_path, name, content, fault):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((DataError, ConfigError), match=fault) as error:
        read_records(tmp_path / name)
    assert name in str(error.value)


def test_files_stay_below_their_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.jsonl").write_text("{}")
    (tmp_path / "in" / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    for pattern in ("../secret.jsonl", str(tmp_path / "secret.jsonl"), "link.jsonl"):
        with pytest.raises(ConfigError, match="below its folder"):
            find_files(tmp_path / "in", pattern)


def test_missing_data_says_what_to_do(tmp_path):
    for pattern in ("blimp/a.jsonl", "blimp/*.jsonl"):
        with pytest.raises(DataError, match=r"no such file\. Say where the data is with --data FOLDER"):
            find_files(tmp_path, pattern)


def test_the_hash_is_of_the_contents(tmp_path):
    a, b = write(tmp_path, "a.json"), write(tmp_path, "b.json")
    assert hash_files([a]) == hash_files([b]) != hash_files([a, b])
