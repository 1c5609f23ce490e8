"""Pages take their figures from the results, and keep everything outside the markers."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import record
import table
from record import Figure, write_result


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    write_result("fast_and_far", [
        Figure("beside a peer", 1.25, "x", ">= 1.2x", True, "litgpt"), Figure("alone", 2, "s"),
        Figure("older", 1, "x", ">= 2x", False, 3, "2026-01-02", "abc", "an older machine"),
    ])  # fmt: skip
    write_result("engine", [Figure("decoding", 3, "tok/s", peer_value=2)])


def test_the_page_of_speed_has_peers_alone_under_what_they_were_measured_on() -> None:
    drawn = table.speed_rows()
    assert "| beside a peer | 1.25 x (peer: litgpt) | >= 1.2x | met |" in drawn
    assert "alone" not in drawn and "decoding" not in drawn
    old = drawn[drawn.index("an older machine") :]
    assert "2026-01-02, commit abc" in old and "| older | 1 x (peer: 3) | >= 2x | **not met** |" in old


def test_the_readme_has_headlines_and_all_that_was_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "HEADLINES", ("decod", "absent"))
    drawn = table.headlines()
    assert "| decoding | 3 tok/s (peer: 2) |  |  |" in drawn and "| alone" not in drawn
    assert "Of 2 figures that have a target, 1 are met. Not met: older (1)." in drawn


def test_every_row_has_its_page_but_details_stay_in_the_result(tmp_path: Path) -> None:
    write_result("glass", [Figure("long", "x" * 200, ""), Figure("parts", {"a": 1.5, "b": [True, 2000]}, "s")])
    write_result("gpu", [Figure("of another script", 1, "s")])
    drawn = table.every_row()
    assert drawn.index("## Judging") < drawn.index("## gpu") < drawn.index("of another script")
    assert drawn.index("## Fast on one machine") < drawn.index("## Answering") < drawn.index("## Judging")
    assert "| parts | a: 1.5, b: yes, 2,000 s |  |  |" in drawn and "long" not in drawn


def test_only_what_stands_between_the_markers_is_drawn_anew(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.draw(page, table.every_row())
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old\n<" not in text
    assert "| alone | 2 s |  |  |" in text and "decoding" in text


def test_a_page_without_markers_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("no place\n")
    with pytest.raises(SystemExit, match=r"page\.md has no"):
        table.draw(tmp_path / "page.md", "")
