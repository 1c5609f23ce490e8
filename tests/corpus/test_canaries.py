"""Canaries planted where they say, as often as they say, and nothing else changed."""

from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from glasshouse.core.config import parse_config
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.files import read_json
from glasshouse.core.terminal import Terminal
from glasshouse.corpus import CorpusConfig, read_documents, run_corpus
from glasshouse.corpus.canaries import CANARY, CanaryConfig, make_canaries, read_canaries

CANARIES = CanaryConfig(counts=(1, 5), per_count=3, n_controls=4)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    for part in range(4):
        lines = (f"Line {number} of part {part} says something of its own." for number in range(200))
        (folder / f"{part}.txt").write_text("\n".join(lines) + "\n")
    return folder


def build(sources: Path, folder: Path, canaries: CanaryConfig | None) -> None:
    config = CorpusConfig(sources=(str(sources),), canaries=canaries, holdout_fraction=0.3)
    run_corpus(config, folder, Terminal(is_quiet=True))


def test_each_is_planted_as_often_as_it_says_and_controls_never(sources: Path, tmp_path: Path) -> None:
    build(sources, tmp_path / "corpus", CANARIES)
    planted = Counter(d.text.strip() for d in read_documents(tmp_path / "corpus") if d.source == CANARY)
    canaries = read_canaries(tmp_path / "corpus")
    assert {c.text: c.count for c in canaries if c.count} == dict(planted)
    assert [c.count for c in canaries] == [1] * 3 + [5] * 3 + [0] * 4
    everything = " ".join(d.text for d in read_documents(tmp_path / "corpus"))
    assert not any(c.name in everything for c in canaries if not c.count)
    summary = read_json(tmp_path / "corpus" / "summary.json")
    assert summary["canaries"]["n_planted"] == 18 == sum(planted.values())
    assert all(d.source != CANARY for d in read_documents(tmp_path / "corpus", "holdout"))


def test_the_text_itself_is_unchanged_and_offsets_still_lead_to_it(sources: Path, tmp_path: Path) -> None:
    build(sources, tmp_path / "without", None)
    build(sources, tmp_path / "with", CANARIES)
    documents = [d for d in read_documents(tmp_path / "with") if d.source != CANARY]
    joined = {s: "".join(d.text for d in parts) for s, parts in groupby(documents, key=lambda d: d.source)}
    assert joined == {d.source: d.text for d in read_documents(tmp_path / "without")}
    for document in documents:
        whole = Path(document.source).read_text()
        assert whole[document.offset : document.offset + len(document.text)] == document.text
    assert len({d.id for d in read_documents(tmp_path / "with")}) == len(list(read_documents(tmp_path / "with")))


def test_copies_are_spread_over_the_text(sources: Path, tmp_path: Path) -> None:
    build(sources, tmp_path / "corpus", CanaryConfig(counts=(16,), per_count=2, n_controls=1))
    is_canary = [d.source == CANARY for d in read_documents(tmp_path / "corpus", "train")]
    assert max(len(list(run)) for kind, run in groupby(is_canary) if kind) <= 4


def test_the_same_config_makes_the_same_canaries_all_different() -> None:
    canaries = make_canaries(CanaryConfig())
    assert canaries == make_canaries(CanaryConfig())
    assert canaries != make_canaries(CanaryConfig(seed=1))
    assert len({c.name for c in canaries}) == len({c.secret for c in canaries}) == len(canaries)
    assert all(c.text == f"{c.prefix} {c.secret}." for c in canaries)


def test_counts_out_of_order_are_refused() -> None:
    with pytest.raises(ConfigError, match="each larger"):
        parse_config(CanaryConfig, {"counts": [4, 1]})


def test_a_damaged_list_of_canaries_is_told(tmp_path: Path) -> None:
    assert read_canaries(tmp_path) == []
    (tmp_path / "canaries.json").write_text('{"canaries": [{"name": "x"}]}')
    with pytest.raises(DataError, match="damaged"):
        read_canaries(tmp_path)
