"""A campaign from beginning to end on the command line."""

import json
import re
from pathlib import Path

import pytest

from glasshouse.cli.label_verbs import label_app
from glasshouse.cli.labelling import parse_said
from glasshouse.cli.main import main
from glasshouse.core.errors import DataError
from glasshouse.core.records import Message
from glasshouse.feedback import Campaign, Task, read_preferences
from glasshouse.feedback.campaign import ShownAnswer
from glasshouse.feedback.store import FeedbackStore


@pytest.fixture
def glass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> object:
    """Run `glass label ...` on a store of its own; returns what was printed, and after a refusal its exit code."""

    def run(*arguments: str) -> str:
        try:
            main(["label", *arguments, "--store", str(tmp_path / "labels.db")])
        except SystemExit as stop:
            captured = capsys.readouterr()
            return f"{stop.code} {' '.join((captured.out + captured.err).split())}"
        return capsys.readouterr().out

    return run


def prompts(folder: Path, n: int) -> Path:
    path = folder / "prompts.jsonl"
    lines = [{"prompt": f"question {i}", "answers": ["good", "bad"]} for i in range(n)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_campaign_from_the_command_line(glass, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "guide.md").write_text("# Be fair")
    made = glass("create", "short", "--kind", "ranking", "--items", str(prompts(tmp_path, 3)), "--overlap", "1",
                 "--guidelines", str(tmp_path / "guide.md"))  # fmt: skip
    assert "3 prompts" in made and "# Be fair" in glass("guidelines", "short")
    keys = [re.search(r"gl-\S+", glass("annotator", name)) for name in ("Ada", "Bob")]
    assert all(keys)
    for name, best in (("Ada", "good"), ("Bob", "bad")):
        for _ in range(3):
            task = json.loads(glass("next", "short", "--by", name, "--json"))
            letter = "AB"[[answer["text"] for answer in task["answers"]].index(best)]
            said = f"{letter}>{'BA'['AB'.index(letter)]}"
            assert "stored" in glass("submit", "short", task["item_id"], said, "--by", name, "--seconds", "2")
        assert "nothing is left" in glass("next", "short", "--by", name)
    assert "3 of 3 done" in glass("progress", "short") and "2.0 s" in glass("progress", "short")
    assert "Krippendorff's -0." in glass("agreement", "short")
    split = re.search(r"split +(\w{16})", glass("review", "short"))
    assert split is not None
    task = FeedbackStore(tmp_path / "labels.db").task_of("short", "Ada", split[1])
    glass("decide", "short", split[1], "A>B" if task.answers[0].text == "good" else "B>A", "--by", "Ada")
    assert glass("review", "short").count("split") == 2
    assert "5 records" in glass("export", "short", str(tmp_path / "pairs.jsonl"), "--pairs")
    chosen = [pair.chosen for pair in read_preferences(tmp_path / "pairs.jsonl")]
    assert sorted(chosen) == ["bad", "bad", "good", "good", "good"]
    assert "short" in glass("list")


def test_roles(glass, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert "Ada, owner" in glass("annotator", "Ada") and "Bob, annotator" in glass("annotator", "Bob")
    (tmp_path / "one.jsonl").write_text(json.dumps({"prompt": "q", "answers": ["a"]}))
    glass("create", "t", "--kind", "thumbs", "--items", str(tmp_path / "one.jsonl"))
    [item] = FeedbackStore(tmp_path / "labels.db").items("t")
    assert "--role reviewer" in glass("decide", "t", item.id, "good", "--by", "Bob")
    assert "Bob is reviewer from now on" in glass("annotator", "Bob", "--role", "reviewer")
    assert "this stands" in glass("decide", "t", item.id, "good", "--by", "Bob")


def test_labels_given_elsewhere(glass, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "pairs.jsonl"
    lines = [{"prompt": "q", "chosen": "x", "rejected": "y"}, {"prompt": "q", "chosen": "y", "rejected": "x"},
             {"prompt": "r", "chosen": "x", "rejected": "x"}]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    glass("create", "old", "--kind", "ranking")
    shown = glass("import", "old", str(path), "--by", "Ada")
    assert "1 labels on 1 new items" in shown and "contradict one another" in shown and ":3: left out" in shown
    assert "1 were there already" in glass("import", "old", str(path), "--by", "Ada")


def test_what_is_wrong_is_said_in_a_line(glass, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert "there are no campaigns" in glass("list")
    assert glass("nothing").startswith("3 ") and "no campaign called 'nothing'" in glass("nothing")
    glass("create", "empty", "--kind", "thumbs")
    assert "has no prompts" in glass("empty")  # it does not open
    assert "already" in glass("create", "empty", "--kind", "thumbs")
    assert glass("create", "Bad Name", "--kind", "thumbs").startswith("2 ")
    assert "like helpful=1-5" in glass("create", "r", "--kind", "rating", "--rubric", "helpful")
    assert "they need one" in glass("create", "r", "--kind", "rating")
    assert "nothing to export" in glass("export", "empty", str(tmp_path / "x.jsonl"))
    assert not (tmp_path / "x.jsonl").exists()
    assert "no annotator called 'Eve'" in glass("next", "empty", "--by", "Eve")
    glass("create", "rate", "--kind", "rating", "--rubric", "helpful=1-5")
    assert "ratings are not read" in glass("import", "rate", "none.jsonl", "--by", "Ada")


def test_markup_and_control_characters_stay_text(glass, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": "[red]?\x1b[2J", "answers": ["[/bold]<b>"]}))
    glass("create", "odd", "--kind", "thumbs", "--items", str(path))
    glass("annotator", "Ada")
    shown = glass("next", "odd", "--by", "Ada")
    assert "[red]?\ufffd[2J" in shown and "[/bold]<b>" in shown


def task(kind: str, n_answers: int) -> Task:
    answers = tuple(ShownAnswer(f"id{i}", f"text {i}") for i in range(n_answers))
    campaign = Campaign.model_validate({"name": "c", "kind": kind})
    return Task("c", campaign.kind, "item", (Message("user", "q"),), answers, (), 1, 0.0)


def test_labels_as_a_person_writes_them(tmp_path: Path) -> None:
    assert parse_said(task("ranking", 3), "b > A=c") == {"ranks": [("id1", 1), ("id0", 2), ("id2", 2)]}
    assert parse_said(task("thumbs", 1), "bad") == {"is_good": False}
    assert parse_said(task("thumbs", 1), '{"is_good": true}') == {"is_good": True}
    (tmp_path / "a.txt").write_text("an answer")
    assert parse_said(task("edit", 1), f"@{tmp_path}/a.txt") == {"text": "an answer"}
    for kind, said, message in (
        ("ranking", "A>D", "letters A, B, C"), ("thumbs", "yes", "good or bad"), ("edit", "{", "not valid JSON"),
        ("edit", "@nowhere", "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            parse_said(task(kind, 3), said)


@pytest.mark.parametrize("verb", [name for name in label_app if not name.startswith("-")])
def test_every_option_is_explained(verb: str) -> None:
    options = label_app[verb].assemble_argument_collection(parse_docstring=True)
    assert [option.name for option in options if option.show and not option.parameter.help] == []
