import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from judged import place, write_parent

from glasshouse.align.best_of_n import BestOfNConfig, Candidate, Candidates
from glasshouse.align.rejection import KEPT, RejectionConfig, keep_best, train_on_best_answers
from glasshouse.align.rewards import Exchange
from glasshouse.align.rollout import Prompt
from glasshouse.core.errors import DataError
from glasshouse.core.records import Message, Question
from glasshouse.corpus import read_conversations
from glasshouse.optim import OptimConfig

QUESTIONS = [Question(letter, f"{letter}?", ("a",)) for letter in "abcd"]


class HasA:
    name = "has an a"

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        return [float("a" in e.answer) for e in exchanges]


def config(**changes: object) -> RejectionConfig:
    sampling = BestOfNConfig(n=24, max_tokens=4, seed=1)
    fast = OptimConfig(matrices="adamw", matrix_lr=1e-2, embedding_lr=1e-2, head_lr=1e-2, vector_lr=1e-2)
    return RejectionConfig(**{"sampling": sampling, "epochs": 30, "optim": fast, **changes})  # type: ignore[arg-type]


def test_what_is_kept() -> None:
    answers = (
        Candidate("low", 0.2, "stop"), Candidate("good", 0.8, "stop"), Candidate("cut off", 0.9, "length"),
        Candidate(" good", 0.8, "stop"), Candidate("fair", 0.5, "stop"), Candidate("best", 1.0, "stop"),
    )  # fmt: skip
    prompt = Prompt((Message("system", "s"), Message("user", "u")))
    kept = keep_best([Candidates(prompt, answers)], n_kept=2, min_reward=0.5)
    assert [[m.content for m in c.messages] for c in kept] == [["s", "u", "best"], ["s", "u", "good"]]
    assert [c.meta["reward"] for c in kept] == [1.0, 0.8]
    assert [c.messages[-1].content for c in keep_best([Candidates(prompt, answers)], 9, 0.5)] == [
        "best",
        "good",
        "fair",
    ]
    assert keep_best([Candidates(prompt, answers)], 9, 1.5) == []


def test_fine_tuned_on_the_best(tmp_path: Path) -> None:
    parent = write_parent(tmp_path / "parent")
    where = place(tmp_path / "run", "rejection")
    result = train_on_best_answers(parent, QUESTIONS, HasA(), config(), **where)
    folder = where["folder"]
    kept = list(read_conversations(folder / KEPT))
    assert kept and all("a" in c.messages[-1].content for c in kept)
    record = json.loads((folder / "align.json").read_text())
    assert record["method"] == "rejection" and record["n_kept"] == len(kept) and record["n_answers"] == 96
    assert record["reward_after"] > record["reward_before"]
    assert result.checkpoint.is_dir()
    # Again: the kept answers are read, the finished training is found, nothing changes.
    written_at = (folder / KEPT).stat().st_mtime_ns
    again = train_on_best_answers(parent, QUESTIONS, HasA(), config(), **where)
    assert again.steps == result.steps and (folder / KEPT).stat().st_mtime_ns == written_at


def test_nothing_good_enough(tmp_path: Path) -> None:
    parent = write_parent(tmp_path / "parent")
    with pytest.raises(DataError, match=r"none of 96 answers reaches min_reward = 2 .*the best has"):
        train_on_best_answers(parent, QUESTIONS, HasA(), config(min_reward=2.0), **place(tmp_path / "run"))


def test_no_prompts(tmp_path: Path) -> None:
    parent = write_parent(tmp_path / "parent")
    with pytest.raises(DataError, match="there are no prompts"):
        train_on_best_answers(parent, [], HasA(), config(), **place(tmp_path / "run"))
