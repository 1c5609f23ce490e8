"""Peers that are not there, and pages that every side reads."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import corpora
import peer_speed
from peers import Peers

from glasshouse.tokenizer import TokenizerConfig, train_tokenizer


def test_a_missing_peer_is_named_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_speed, "CASES", [])
    with pytest.raises(SystemExit, match=r"no litgpt here \(litgpt/pretrain.py is missing\).*--peers"):
        peer_speed.figures(Peers(tmp_path), names=("litgpt",))


def test_pages_end_with_sentences_and_lose_nothing() -> None:
    sentence = "It was the best of times, it was the worst of times. "
    text = "\n\n".join([sentence * 50, sentence * 3, "x" * 4000, sentence])
    pages = list(corpora._pages_of(text))
    assert max(map(len, pages)) <= corpora.PAGE_CHARACTERS
    assert "".join(pages).replace(" ", "").replace("\n", "") == text.replace(" ", "").replace("\n", "")
    assert sum(page.endswith(".") for page in pages) >= len(pages) - 3  # the word without end is cut where it must be


def test_the_faster_form_of_each_peer_is_compared_and_the_lowest_ratio_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = {"nanoGPT": {True: 80.0, False: 90.0}, "litgpt": {True: 100.0, False: 70.0}, "glasshouse": {False: 121.0}}
    asked: list[tuple[str, bool]] = []

    def speed(_: object, name: str, is_compiled: bool = False) -> float:
        asked.append((name, is_compiled))
        return speeds[name][is_compiled]

    monkeypatch.setattr(peer_speed.Comparison, "speed", speed)
    corpus = corpora.Corpus("made up", tmp_path, train_tokenizer(["abc"], TokenizerConfig(kind="char")))
    case = peer_speed.Case("a case", "made up", peer_speed.TEN, 12)
    first, *rows = peer_speed.Comparison(Peers(tmp_path), case, corpus, 1).run(("nanoGPT", "litgpt"), 1)
    assert (first.value, first.is_met, first.peer_value) == (1.21, True, "litgpt")
    assert [(row.value, row.peer_value) for row in rows[:2]] == [(121, 90), (121, 100)]
    assert asked[4:] == [("nanoGPT", False), ("glasshouse", False), ("litgpt", True), ("glasshouse", False)]
