import os
from pathlib import Path

import pytest

from glasshouse.core.errors import DataError
from glasshouse.corpus.problem import Problem
from glasshouse.corpus.sources import find_files, unique_files


def test_folder_is_read_in_order_of_name_with_ids_that_do_not_hold_its_place(tmp_path: Path) -> None:
    for name in ("b/x.txt", "a.md.gz", "b.txt", ".git/config", "b/__pycache__/x.pyc"):
        (tmp_path / "texts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / name).write_text("x")
    problems: list[Problem] = []
    files = find_files(str(tmp_path / "texts"), problems.append)
    assert [file.name for file in files] == ["texts/a.md.gz", "texts/b/x.txt", "texts/b.txt"]
    assert (files[0].suffix, files[0].compression) == (".md", ".gz")
    assert len(problems) == 2


def test_loops_of_links_broken_links_and_pipes_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    os.mkfifo(tmp_path / "pipe")
    problems: list[Problem] = []
    assert [file.path.name for file in find_files(str(tmp_path), problems.append)] == ["a.txt"]
    assert sorted(Path(problem.source).name for problem in problems) == ["broken", "loop", "pipe", "self"]


def test_unreadable_folder_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "locked").mkdir()
    listing = Path.iterdir

    def refuse(self: Path) -> object:
        if self.name == "locked":
            raise PermissionError(13, "Permission denied")
        return listing(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    problems: list[Problem] = []
    assert len(find_files(str(tmp_path), problems.append)) == 1
    assert problems == [Problem((tmp_path / "locked").as_posix(), "folder cannot be read: Permission denied")]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("empty", "no readable file in it"),
        ("tects", 'Did you mean "texts"'),
        ("nowhere/x.txt", "does not exist"),
        ("texts/*.rst", r"no file matches the pattern .*texts/\*\.rst.*looked from .*texts, which exists"),
        ("none/**/*.rst", "none, which does not exist"),
    ],
)
def test_a_source_that_names_nothing_is_refused(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    with pytest.raises(DataError, match=message):
        find_files(str(tmp_path / source), lambda problem: None)


def test_patterns_find_files_at_any_depth(tmp_path: Path) -> None:
    for name in ("a.md", "b/c.md", "b/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    files = find_files(str(tmp_path / "**" / "*.md"), lambda problem: None)
    assert [file.path.name for file in files] == ["a.md", "c.md"]


def test_no_file_twice_and_no_name_twice(tmp_path: Path) -> None:
    for folder in ("one/texts", "two/texts"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.txt").write_text("x")
    problems: list[Problem] = []
    sources = ["one/texts", "two/texts", "one/texts/a.txt"]
    groups = [find_files(str(tmp_path / source), problems.append) for source in sources]
    unique = unique_files(groups, problems.append)
    assert [[file.name for file in group] for group in unique] == [["texts/a.txt"], ["texts~2/a.txt"], []]
    assert [problem.reason for problem in problems] == ["the same file was already read"]
