"""Peers that are not there, and pages that every side reads."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import corpora
import peer_speed
from peers import Peers


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
