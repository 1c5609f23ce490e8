"""`read` over real files: every format, every compression, and the bad input of the project's list."""

import gzip
import random
import subprocess
import sys
from pathlib import Path

import pytest

from glasshouse.core.errors import DataError
from glasshouse.core.records import Document
from glasshouse.corpus.pipeline import STEPS
from glasshouse.corpus.problem import Problem
from glasshouse.corpus.reader import read


def read_all(*paths: Path, **options: object) -> tuple[list[Document], list[Problem]]:
    problems: list[Problem] = []
    return list(read([str(path) for path in paths], problems.append, **options)), problems  # type: ignore[arg-type]


def reasons(problems: list[Problem]) -> str:
    return " | ".join(problem.reason for problem in problems)


def test_plain_text_of_any_suffix_keeps_its_characters(tmp_path: Path) -> None:
    for name in ("a.txt", "b.md", "c.rst", "d.py", "e.rs", "README"):
        (tmp_path / name).write_bytes(f"{name}\r\nzwei ü\n".encode())
    documents, problems = read_all(tmp_path)
    assert sorted(document.text for document in documents) == sorted(
        f"{name}\r\nzwei ü\n" for name in ("a.txt", "b.md", "c.rst", "d.py", "e.rs", "README")
    )
    assert problems == []
    assert documents[0].id == f"{tmp_path.name}/README"


def test_gz_and_zst_read_as_what_they_hold(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one") + gzip.compress(b" two"))
    compress = zstandard.ZstdCompressor().compress
    (tmp_path / "b.jsonl.zst").write_bytes(compress(b'{"text": "three"}\n') + compress(b'{"text": "four"}\n'))
    documents, problems = read_all(tmp_path)
    assert [document.text for document in documents] == ["one two", "three", "four"]
    assert problems == []


def test_damaged_archives_give_what_came_before_and_are_recorded(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    noise = random.Random(0)
    lines = "".join(f'{{"text": "{noise.random()} {number}"}}\n' for number in range(20_000)).encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines)[:-100_000])
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(lines)[:-100_000])
    (tmp_path / "c.txt.gz").write_bytes(b"not gzip at all")
    (tmp_path / "d.txt.zst").write_bytes(b"not zstd at all")
    (tmp_path / "e.txt").write_text("good")
    documents, problems = read_all(tmp_path)
    assert documents[-1].text == "good"
    assert len([document for document in documents if "a.jsonl" in document.id]) > 5_000
    damaged = {Path(problem.source).name for problem in problems if "damaged" in problem.reason}
    assert damaged >= {"a.jsonl.gz", "c.txt.gz", "d.txt.zst"}


def test_binary_files_among_text_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.bin").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "c.jsonl").write_bytes(b"\0\1\2\3" * 100)
    documents, problems = read_all(tmp_path)
    assert [document.text for document in documents] == ["text"]
    assert [problem.reason for problem in problems] == ["binary file, not read"] * 2


def test_nothing_readable_at_all_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes(bytes(range(256)) * 8)
    with pytest.raises(DataError, match=r"nothing readable in .*b\.bin: binary file"):
        read_all(tmp_path)


def test_invalid_utf8_is_decoded_and_recorded(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    (tmp_path / "b.txt").write_bytes("größer größer größer ".encode() + b"\xff!")
    documents, problems = read_all(tmp_path)
    assert [document.text for document in documents] == ["café", "größer größer größer \ufffd!"]
    assert "decoded as Windows-1252" in problems[0].reason
    assert "1 characters replaced by U+FFFD" in problems[1].reason


def test_unreadable_file_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    from glasshouse.corpus import sources

    real = sources._CountedFile.__init__

    def refuse(self: object, path: Path, on_bytes: object) -> None:
        if path.name == "a.txt":
            raise PermissionError(13, "Permission denied")
        real(self, path, on_bytes)  # type: ignore[arg-type]

    monkeypatch.setattr(sources._CountedFile, "__init__", refuse)
    documents, problems = read_all(tmp_path)
    assert [document.text for document in documents] == ["b"]
    assert reasons(problems) == "cannot be read: Permission denied"


def test_long_text_is_cut_and_offsets_lead_back(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {number}. " + "wörd " * (number % 40) for number in range(500))
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    documents, _ = read_all(tmp_path, max_document_chars=1000)
    assert len(documents) > 20
    assert "".join(document.text for document in documents) == text
    assert all(text[d.offset : d.offset + len(d.text)] == d.text and len(d.text) <= 1000 for d in documents)
    assert all(document.text.endswith("\n\n") for document in documents[:-1])
    assert len({document.id for document in documents}) == len(documents)


def test_long_record_is_cut_with_the_place_in_its_text(tmp_path: Path) -> None:
    text = "wort " * 1000
    (tmp_path / "a.jsonl").write_text('{"text": "kurz"}\n{"text": "' + text + '"}\n')
    documents, _ = read_all(tmp_path, max_document_chars=1000)
    long = documents[1:]
    assert "".join(document.text for document in long) == text
    assert all(text[document.meta["start"] :].startswith(document.text) for document in long)
    assert len({document.id for document in documents}) == len(documents)


def test_stdlib_is_read_and_cut() -> None:
    problems: list[Problem] = []
    found = {}
    for document in read(["stdlib:"], problems.append, max_document_chars=10_000):
        found[document.id] = len(document.text)
        if len(found) == 12:
            break
    assert 8_000 < max(found.values()) <= 10_000 and problems == []


MEASURE = """
import sys
from glasshouse.meter import peak_memory_bytes
from glasshouse.corpus.reader import read
from glasshouse.corpus.pipeline import Pipeline, STEPS
before = peak_memory_bytes() // 1024
n = 0
steps = [STEPS[name] for name in sys.argv[2:]]
for document in Pipeline(steps, lambda record: None).run(read([sys.argv[1]], lambda problem: None)):
    n += len(document.text)
print(peak_memory_bytes() // 1024 - before, n)
"""


def measure_growth(path: Path, *steps: str) -> tuple[int, int]:
    """(growth of peak memory in kB, characters read) of cleaning one file in a process of its own."""
    run = subprocess.run([sys.executable, "-c", MEASURE, str(path), *steps], capture_output=True, text=True, check=True)
    growth_kb, n_chars = run.stdout.split()
    return int(growth_kb), int(n_chars)


def write_long_line(path: Path, n_bytes: int) -> None:
    words = random.Random(0)
    with path.open("w") as file:
        for _ in range(n_bytes // 1_000_000):
            word = "".join(words.choices("abcdefgh", k=9)) + " "
            file.write(word * (1_000_000 // len(word)))


def test_one_long_line_is_streamed(tmp_path: Path) -> None:
    write_long_line(tmp_path / "a.txt", 30_000_000)
    growth_kb, n_chars = measure_growth(tmp_path / "a.txt", "normalize")
    assert n_chars > 29_000_000
    assert growth_kb < 25_000


@pytest.mark.slow
def test_one_very_long_line_takes_no_more_memory(tmp_path: Path) -> None:
    write_long_line(tmp_path / "a.txt", 200_000_000)
    growth_kb, _ = measure_growth(tmp_path / "a.txt", *STEPS)
    assert growth_kb < 40_000


def test_long_line_of_jsonl_is_left_out_with_its_number_and_streamed(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("w") as file:
        file.write('{"text": "one"}\n{"text": "')
        for _ in range(70):
            file.write("x" * 1_000_000)
        file.write('"}\n{"text": "three"}\n')
    documents, problems = read_all(tmp_path)
    assert [document.text for document in documents] == ["one", "three"]
    assert [(problem.line, problem.reason) for problem in problems] == [(2, "line longer than 64 million characters")]


def test_archive_that_expands_a_thousandfold_is_streamed(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.txt.gz", "wb", compresslevel=9) as file:
        for _ in range(40):
            file.write(b"a b " * 250_000)
    assert (tmp_path / "a.txt.gz").stat().st_size < 100_000
    growth_kb, n_chars = measure_growth(tmp_path / "a.txt.gz", "dedup_exact")
    assert growth_kb < 25_000
    assert 0 < n_chars < 1_000_000
