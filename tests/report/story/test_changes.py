import pytest

from glasshouse.core.files import read_json, write_json
from glasshouse.core.rundir import RunDirectory
from glasshouse.report import story
from glasshouse.report.records import read_run


def test_every_question_is_followed_from_before_to_after(aligned_run: RunDirectory) -> None:
    changes = story.changes(read_run(aligned_run))
    assert changes is not None
    bars = {title: [part.label for part in parts] for title, parts in changes.bars}
    assert bars == {
        "What became of 78 answered wrongly before": ["· 8 right now", "· 50 refused now", "· 20 wrong now"],
        "What became of 50 invented before, for made-up names": ["· 40 honestly refused now", "· 10 invented now"],
        "What became of 2,159 right before": ["· 2,156 right now", "· 3 refused now"],
    }
    assert [(group.title, group.count) for group in changes.groups] == [
        ("Wrong before, now it says that it does not know", 50),
        ("Wrong before, right now", 8),
        ("Invented before, now it says that it does not know", 40),
        ("Right before, now it says that it does not know", 3),
    ]
    example = changes.groups[1].examples[0]
    assert example.after == "Right." and example.truth == "Return a list of paths."


def test_what_was_not_kept_is_not_counted(aligned_run: RunDirectory) -> None:
    """More wrong answers than the file holds: what became of those that are missing cannot be known."""
    path = aligned_run.path / "evals" / "align.json"
    result = read_json(path)
    result["outcomes"]["wrong"] += 1
    write_json(path, result)
    changes = story.changes(read_run(aligned_run))
    assert changes is not None and changes.bars == []
    assert changes.groups[0].count == 50  # of those that are there


@pytest.mark.parametrize("n_items", [None, 3203])
def test_other_questions_are_not_compared(aligned_run: RunDirectory, n_items: int | None) -> None:
    path = aligned_run.path / "evals" / "align.json"
    write_json(path, {**read_json(path), "n_items": n_items})
    changes = story.changes(read_run(aligned_run))
    assert changes is not None and changes.bars == []
