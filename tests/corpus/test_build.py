import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.files import read_json, read_jsonl, sha256_file
from glasshouse.core.terminal import Terminal
from glasshouse.corpus import build
from glasshouse.corpus.build import CorpusConfig, CorpusSummary, read_documents, run_corpus

QUIET = Terminal(is_quiet=True)
STEPS = ("normalize", "drop_empty", "mask_private", "dedup_exact")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(120):
        (folder / f"{number:03}.txt").write_text(f"Text {number % 100}, by ada{number % 100}@lovelace.org.\r\n")
    (folder / "empty.txt").write_text("  \n")
    (folder / "image.png").write_bytes(b"\x89PNG\0\0")
    (folder / "odd.jsonl").write_text('{"text": "record"}\n{bad\n')
    return folder


def config(*sources: Path, **values: Any) -> CorpusConfig:
    return CorpusConfig(sources=tuple(map(str, sources)), **{"steps": STEPS, **values})


def test_files_and_summary_agree(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = run_corpus(config(texts, holdout_fraction=0.1), out, QUIET)
    records = list(read_jsonl(out / "documents.jsonl"))
    assert summary.n_documents == len(records) == 101
    assert summary.n_bytes == sum(len(record["text"].encode()) for record in records)
    assert summary.n_read_documents == 122
    assert summary.n_holdout_documents == sum(record["split"] == "holdout" for record in records) > 0
    assert summary.sources == {str(texts): {"n_documents": 101, "n_bytes": summary.n_bytes}}
    assert summary.sha256 == sha256_file(out / "documents.jsonl")
    steps = {step["name"]: step for step in summary.steps}
    assert steps["mask_private"]["reasons"] == {"email": 120}
    assert steps["dedup_exact"]["reasons"] == {"duplicate": 20}
    assert steps["drop_empty"]["reasons"] == {"empty": 1}
    problems = list(read_jsonl(out / "problems.jsonl"))
    assert summary.n_problems == 2 and [(Path(p["source"]).name, p["line"]) for p in problems] == [
        ("image.png", None),
        ("odd.jsonl", 2),
    ]
    assert CorpusSummary.load(out) == summary
    assert "lovelace" not in (out / "removed.jsonl").read_text() + (out / "documents.jsonl").read_text()


def test_read_documents_gives_the_splits(texts: Path, tmp_path: Path) -> None:
    run_corpus(config(texts, holdout_fraction=0.2), tmp_path / "out", QUIET)
    train, holdout = (list(read_documents(tmp_path / "out", split)) for split in ("train", "holdout"))
    assert len(train) + len(holdout) == len(list(read_documents(tmp_path / "out"))) == 101
    assert 5 < len(holdout) < 40
    assert train[0].source.endswith("000.txt") and train[0].text == "Text 0, by [EMAIL].\n"


def test_same_input_same_bytes(texts: Path, tmp_path: Path) -> None:
    one = run_corpus(config(texts), tmp_path / "one", QUIET)
    two = run_corpus(config(texts), tmp_path / "two", QUIET)
    for name in ("documents.jsonl", "removed.jsonl", "problems.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert one.sha256 == two.sha256


def test_a_moved_corpus_keeps_its_ids_and_split(texts: Path, tmp_path: Path) -> None:
    run_corpus(config(texts, holdout_fraction=0.2), tmp_path / "one", QUIET)
    moved = tmp_path / "elsewhere" / "texts"
    moved.parent.mkdir()
    texts.rename(moved)
    run_corpus(config(moved, holdout_fraction=0.2), tmp_path / "two", QUIET)
    held = [[d.id for d in read_documents(tmp_path / name, "holdout")] for name in ("one", "two")]
    assert held[0] == held[1] != []


@pytest.mark.parametrize("n_files", [1, 3])
def test_a_small_corpus_holds_out_the_end_of_its_longest_text(tmp_path: Path, n_files: int) -> None:
    text = "\n\n".join(f"Paragraph {number} has some words." for number in range(300))
    (tmp_path / "in").mkdir()
    for number in range(n_files):
        (tmp_path / "in" / f"{number}.txt").write_text("short" * number if number else text)
    summary = run_corpus(config(tmp_path / "in", holdout_fraction=0.0001, steps=()), tmp_path / "o", QUIET)
    summary = run_corpus(config(tmp_path / "in", holdout_fraction=0.05, steps=()), tmp_path / "out", QUIET)
    [held] = read_documents(tmp_path / "out", "holdout")
    assert text[held.offset :] == held.text
    assert 0.02 * len(text) < len(held.text) < 0.08 * len(text)
    assert summary.n_documents == n_files + 1 == summary.sources[str(tmp_path / "in")]["n_documents"]
    assert summary.sha256 == sha256_file(tmp_path / "out" / "documents.jsonl")
    assert not (tmp_path / "out" / "documents.jsonl").read_text().count("holdout") > 1


def test_a_killed_build_leaves_no_summary_and_is_run_again(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    whole = run_corpus(config(texts), out, QUIET)
    (out / ".documents.jsonl.123.tmp").write_text("left by a kill")
    with monkeypatch.context() as patch:
        patch.setattr(build, "sha256_file", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_corpus(config(texts), out, QUIET)
    with pytest.raises(DataError, match=r"summary\.json is missing"):
        list(read_documents(out))
    assert run_corpus(config(texts), out, QUIET).sha256 == whole.sha256
    names = sorted(path.name for path in out.iterdir())
    assert names == [
        "documents.jsonl",
        "problems.jsonl",
        "removed.jsonl",
        "summary.json",
    ]


def test_a_full_disk_is_said_and_nothing_half_written_stays(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, document: object, part: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(build._Build, "_write", refuse)
    with pytest.raises(DataError, match="no space left"):
        run_corpus(config(texts), tmp_path / "out", QUIET)
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_left_is_an_error_that_counts_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" ")
    with pytest.raises(DataError, match=r"all 1 documents were removed \(1 empty\)"):
        run_corpus(config(tmp_path / "a.txt"), tmp_path / "out", QUIET)


@pytest.mark.parametrize("sources", [(), ("nowhere",)])
def test_sources_that_name_nothing_are_refused_before_anything_is_written(
    tmp_path: Path, sources: tuple[str, ...]
) -> None:
    with pytest.raises(DataError, match="A source is a folder"):
        run_corpus(CorpusConfig(sources=sources, steps=STEPS), tmp_path / "out", QUIET)
    assert not (tmp_path / "out").exists()


def test_unknown_step_is_refused(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no cleaning step"):
        run_corpus(config(texts, steps=("dedupe",)), tmp_path / "out", QUIET)


def test_half_characters_in_a_name_can_be_written(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.txt")
    (tmp_path / name).write_text("text")
    run_corpus(config(tmp_path), tmp_path / "out", QUIET)
    assert next(iter(read_documents(tmp_path / "out"))).source.endswith(name)
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == read_json(tmp_path / "out" / "summary.json")
