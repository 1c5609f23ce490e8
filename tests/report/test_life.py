from xml.etree import ElementTree

from glasshouse.core.rundir import RunDirectory
from glasshouse.report import life
from glasshouse.report.life import Pane
from glasshouse.report.records import read_run


def test_panes_follow_the_life(finished_run: RunDirectory) -> None:
    panes = life.panes(read_run(finished_run))
    assert [(pane.name, pane.key) for pane in panes] == [
        ("text", "12.6 MB"), ("corpus", "11.4 MB"), ("tokenizer", "4,096"), ("pretrain", "0.925"), ("sft", "0.11"),
        ("evals", "93 %"), ("assistant", "2.56 M"),
    ]  # fmt: skip
    assert panes[3].took == "3 min 02 s · 1.0 Wh" and panes[1].notes == ("248 removed", "12 changed")


def test_both_pictures_are_well_formed_and_escape_foreign_names() -> None:
    panes = [
        Pane("a<b>&", "1", "x"),
        Pane("b", "2", "<script>", seconds=3),
        Pane("c", "", "", seconds=1, is_done=False),
    ]
    for draw in (life.draw_wide, life.draw_tall):
        svg = draw(panes)
        root = ElementTree.fromstring(svg)
        texts = [node.text for node in root.iter() if node.tag == "text"]
        assert "a<b>&" in texts and "<script>" in texts and "…" in texts
        assert root.find("title") is not None and "pane open" in svg


def test_the_soil_is_divided_like_the_time() -> None:
    panes = [Pane("a", "1", "", seconds=30), Pane("b", "2", "", seconds=10), Pane("c", "3", "")]
    root = ElementTree.fromstring(life.draw_wide(panes))
    widths = [float(node.get("width", 0)) for node in root.iter("rect")]
    assert len(widths) == 2 and abs(widths[0] / widths[1] - 3) < 0.05
