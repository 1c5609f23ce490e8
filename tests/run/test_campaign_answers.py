"""Checkpoints answer the prompts of a campaign: from the command line to what an annotator sees."""

import json
import sys
from pathlib import Path

import pytest

from glasshouse.align.reference import weights_id
from glasshouse.cli.main import main
from glasshouse.feedback.store import FeedbackStore

sys.path.insert(0, str(Path(__file__).parents[1] / "align"))
from judged import write_parent


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two checkpoints, and the name each is kept under."""
    folder = tmp_path_factory.mktemp("models")
    paths = [write_parent(folder / name, seed) for seed, name in enumerate(("one", "two"))]
    return {str(path): f"{path}@{weights_id(path)[:12]}" for path in paths}


def glass(folder: Path, *arguments: str) -> FeedbackStore:
    main(["label", *arguments, "--store", str(folder / "labels.db")])
    return FeedbackStore(folder / "labels.db")


def prompts(folder: Path, *texts: str) -> list[str]:
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    return ["--items", str(folder / "prompts.jsonl")]


def test_each_model_answers_each_prompt_and_nobody_sees_who(tmp_path: Path, models: dict[str, str]) -> None:
    named = [part for path in models for part in ("--model", path)]
    how = ["--answers", "2", "--temperature", "1", "--max-tokens", "12", "--seed", "5"]
    store = glass(tmp_path, "create", "which", "--kind", "ranking", *prompts(tmp_path, "a?", "b?"), *named, *how)
    items = store.items("which")
    for item in items:
        assert {candidate.model for candidate in item.candidates} == set(models.values())
        assert len({candidate.text for candidate in item.candidates}) == len(item.candidates) <= 4
    store.add_annotator("Ada")
    task = store.next_item("which", "Ada")
    assert task is not None and len(task.answers) >= 2 and not any(path in repr(task) for path in models)

    (other := tmp_path / "other").mkdir()  # the same campaign elsewhere gets the same answers
    again = glass(other, "create", "which", "--kind", "ranking", *prompts(other, "a?", "b?"), *named, *how)
    assert [item.candidates for item in again.items("which")] == [item.candidates for item in items]


def test_what_is_judged_one_by_one_becomes_an_item_each(tmp_path: Path, models: dict[str, str]) -> None:
    path, name = next(iter(models.items()))
    glass(tmp_path, "create", "good", "--kind", "thumbs", *prompts(tmp_path, "a?", "b?"))
    store = glass(tmp_path, "sample", "good", "--model", path, "--answers", "3", "--temperature", "1",
                  "--max-tokens", "12")  # fmt: skip
    items = store.items("good")
    assert 4 <= len(items) <= 6  # an answer may be empty, or the same as another
    assert all([c.model for c in item.candidates] == [name] for item in items)
    assert {item.prompt[0].content for item in items} == {"a?", "b?"}
    assert store.open_campaign("good").name == "good"
    assert len(glass(tmp_path, "sample", "good", "--model", path).items("good")) == len(items)  # nothing waits any more


def test_equal_answers_and_long_prompts_wait(
    tmp_path: Path, models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(iter(models))
    glass(tmp_path, "create", "same", "--kind", "ranking", *prompts(tmp_path, "a?", "abcd" * 30))
    store = glass(tmp_path, "sample", "same", "--model", path, "--temperature", "0", "--max-tokens", "5")
    assert all(not item.candidates for item in store.items("same"))
    assert "2 prompts still wait" in " ".join("".join(capsys.readouterr()).split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "x", "--kind", "ranking", "--model", "runs/none"], "runs/none"),
        (["create", "x", "--kind", "demonstration", "--model", "m"], "people write the answers"),
        (["create", "x", "--kind", "ranking", *["--model", "m"] * 5], "more than the 9"),
        (["sample", "there"], "names no models"),
        (["sample", "there", "--model", "runs/none"], "runs/none"),
        (["sample", "nowhere"], "no campaign called"),
    ],
)
def test_what_cannot_be_sampled_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    store = glass(tmp_path, "create", "there", "--kind", "ranking", *prompts(tmp_path, "a?"))
    with pytest.raises(SystemExit):
        glass(tmp_path, *arguments)
    assert words in " ".join("".join(capsys.readouterr()).split())
    assert [campaign.name for campaign in store.campaigns()] == ["there"]
