"""A moderator learns what to block, says how often it is right, and guards by the piece."""

import json
from pathlib import Path

import pytest
import torch
from judged import place, write_parent

from glasshouse.align.moderation_training import (
    Moderated,
    ModerationConfig,
    judge_moderator,
    read_moderated,
    split_by_label,
    train_moderator,
)
from glasshouse.align.moderator import Moderator
from glasshouse.core.errors import CheckpointError, DataError
from glasshouse.optim import OptimConfig

FAST = OptimConfig(matrices="adamw", matrix_lr=1e-2, embedding_lr=1e-2, head_lr=1e-2, vector_lr=1e-2)


def texts(n: int = 80) -> list[Moderated]:
    """To be blocked: whatever is spelt with e to h."""
    made = set()
    for i in range(n):
        letters = "efgh" if i % 2 else "abcd"
        made.add(Moderated("".join(letters[(i // 2 + i * k // 2 + k * k) % 4] for k in range(3 + i % 11)), i % 2 == 1))
    return sorted(made, key=lambda m: m.text)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = write_parent(tmp_path_factory.mktemp("parent") / "checkpoint")
    where = place(tmp_path_factory.mktemp("run"), "moderation")
    config = ModerationConfig(epochs=12, batch_tokens=200, optim=FAST, held_out_share=0.2)
    train_moderator(parent, texts(), config, **where)
    return where["folder"]


def test_it_blocks_what_it_has_not_seen(trained: Path) -> None:
    told = json.loads((trained / "moderation.json").read_text())
    assert told["threshold"] == 0.5 and told["n_trained"] > 40 and told["n_held_out"] >= 10
    assert told["scores"]["accuracy"]["value"] == 1.0 and told["scores"]["wrongly_blocked"]["value"] == 0.0
    moderator = Moderator.load(trained)
    assert moderator.blocks("ghefe") and not moderator.blocks("cdaba")


def test_a_run_and_its_stage_are_found_and_anything_else_refused(trained: Path, tmp_path: Path) -> None:
    assert Moderator.load(trained.parent).threshold == 0.5
    with pytest.raises(CheckpointError, match="glass moderation train"):
        Moderator.load(tmp_path)
    (tmp_path / "moderation.json").write_text("{}")
    with pytest.raises(CheckpointError, match="damaged"):
        Moderator.load(tmp_path)


def test_nothing_hides_behind_a_long_beginning(trained: Path) -> None:
    moderator = Moderator.load(trained)
    context = moderator.model.config.max_seq_len
    long = "abcd" * (context - 1)
    hidden = long[: -(-len(long) // (context - 1)) * (context - 1)] + "hgfeg" * 4
    assert not moderator.blocks(long) and moderator.blocks(hidden)
    assert moderator.p_blocked([long, hidden, "ad"])[1] == pytest.approx(moderator.p_blocked([hidden])[0], abs=1e-6)


def test_transformers_opens_it_and_gives_the_same_score(trained: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(trained / "checkpoint")
    moderator = Moderator.load(trained)
    ids = [moderator.tokenizer.end_of_text_id, *moderator.tokenizer.encode("abeh")]
    with torch.no_grad():
        score = theirs(input_ids=torch.tensor([ids])).logits.item()
    assert torch.sigmoid(torch.tensor(score)).item() == pytest.approx(moderator.p_blocked(["abeh"])[0], abs=1e-4)


def test_the_split_keeps_both_kinds_and_equal_texts_together() -> None:
    learned, held_out = split_by_label([*texts(), *texts()], 0.25, seed=1)
    assert not set(learned) & set(held_out) and {m.is_blocked for m in held_out} == {True, False}
    assert abs(len(held_out) / (len(learned) + len(held_out)) - 0.25) < 0.05
    with pytest.raises(DataError, match="too few"):
        split_by_label([Moderated("a", True), Moderated("b", False)], 0.9, seed=1)


def test_quality_by_hand() -> None:
    class Judge:
        threshold = 0.5

        def p_blocked(self, given: list[str]) -> list[float]:
            return [float(text) for text in given]

    held_out = [Moderated("0.9", True), Moderated("0.2", True), Moderated("0.6", False), Moderated("0.1", False)]
    assert [(s.name, s.value, s.count) for s in judge_moderator(Judge(), held_out)] == [
        ("blocked", 0.5, 2), ("wrongly_blocked", 0.5, 2), ("accuracy", 0.5, 4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nonsense\n", ":1: not a JSON"),
        ('{"is_blocked": true}\n', ":1: needs a text"),
        ('{"text": "a", "is_blocked": 1}\n', ":1: .*true or false"),
        ('{"text": "a", "is_blocked": true}\n', "1 of 1 texts are to be blocked"),
        ("", "0 of 0"),
    ],
)
def test_faulty_files_are_told(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=problem):
        read_moderated(path)
