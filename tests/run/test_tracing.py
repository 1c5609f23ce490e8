"""What a run learned from, found again: the stages' own indexes, and what is said where one is missing or another's."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from glasshouse.batch import encode_documents, write_shard
from glasshouse.core.errors import DataError
from glasshouse.core.records import Conversation, Document, Message, Preference
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.explain import example_of, index_examples
from glasshouse.run import tracing
from glasshouse.run.tracing import RunTrace, index_judged, index_pretraining
from glasshouse.tokenizer import Tokenizer

QUIET = Terminal(is_quiet=True)
SENTENCE = "The gardener planted seven lemon trees behind the old glasshouse."


def grown(path: Path, tokenizer: Tokenizer, texts: Sequence[str]) -> RunDirectory:
    """A run as far as tracing sees it: a tokenizer and the shard that was trained on."""
    run = RunDirectory(path).create()
    tokenizer.save(run.stage("tokenizer"))
    documents = [Document(f"d{n}", text, f"{n}.txt") for n, text in enumerate(texts)]
    write_shard(run.stage("pretrain") / "train.tokens", encode_documents(documents, tokenizer), tokenizer)
    return run


@pytest.fixture
def run(tmp_path: Path, tokenizer: Tokenizer) -> RunDirectory:
    return grown(tmp_path / "run", tokenizer, ["Nothing here.\n", f"A story. {SENTENCE} He slept."])


def test_an_answer_its_places_and_the_examples_near_it(run: RunDirectory) -> None:
    assert index_pretraining(run, QUIET).n_tokens == index_pretraining(run, QUIET).n_tokens  # the second opens it
    taught = Conversation((Message("user", "What is a lemon tree?"), Message("assistant", "A tree.")), "c1")
    index_examples([example_of(taught, "sft", "chats.jsonl")], run.path / "sft" / "examples")
    judged = Preference((Message("user", "Lemon or lime?"),), "Lemon.", "Lime.", "p1")
    index_judged(run, [judged], "votes.jsonl")
    traced = RunTrace(run).trace(f"I say: {SENTENCE}", "Tell me of a lemon tree.")
    assert traced.trace.quotations[0].places[0].source == "1.txt"
    [near], [vote] = traced.nearest["sft"], traced.nearest["align"]
    assert (near.example.id, near.example.source) == ("c1", "chats.jsonl")
    assert (vote.example.stage, vote.example.answer, vote.example.rejected) == ("align", "Lemon.", "Lime.")
    assert traced.to_json()["nearest"]["sft"][0]["example"]["answer"] == "A tree."


def test_what_followed_in_training(run: RunDirectory, tokenizer: Tokenizer) -> None:
    index_pretraining(run, QUIET)
    found, rows = RunTrace(run).next_tokens("seven lemon trees behind the old glass", {5: 0.5})
    assert found.count == 1 and rows[0].p_training == 1 and rows[0].p_model is None
    assert rows[1].id == 5 and rows[1].p_model == 0.5


def test_a_run_without_an_index_says_how_to_make_one(run: RunDirectory) -> None:
    with pytest.raises(DataError, match=r"no index of the training text in .* glass index RUN"):
        RunTrace(run)


def test_the_index_of_another_corpus(run: RunDirectory, tmp_path: Path, tokenizer: Tokenizer) -> None:
    index_pretraining(run, QUIET)
    (run.path / "pretrain" / "train.tokens").unlink()
    other = grown(tmp_path / "other", tokenizer, ["Quite another text."])
    (other.path / "pretrain" / "train.tokens").rename(run.path / "pretrain" / "train.tokens")
    with pytest.raises(DataError, match="index of another corpus"):
        RunTrace(run)


def test_a_run_that_pretrained_nothing(tmp_path: Path, tokenizer: Tokenizer) -> None:
    run = RunDirectory(tmp_path).create()
    tokenizer.save(run.stage("tokenizer"))
    with pytest.raises(DataError, match=r"no training text of its own.*Trace the run that"):
        RunTrace(run)
    with pytest.raises(DataError, match="no training text of its own"):
        index_pretraining(run, QUIET)


def test_a_machine_without_a_compiler_hears_that_it_is_slow(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(tracing, "why_slow", lambda: "no C++ compiler: slower")
    monkeypatch.setattr(QUIET, "warn", lambda name, text: told.append(text))
    index_pretraining(run, QUIET)
    assert told == ["no C++ compiler: slower"]
