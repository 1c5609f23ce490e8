"""A model that was aligned by a run of its own is led back to the text of the run that pretrained it."""

from pathlib import Path

import pytest

from glasshouse.align.reference import weights_id
from glasshouse.core.config import dump_toml
from glasshouse.core.errors import DataError
from glasshouse.core.records import Message, Preference
from glasshouse.core.rundir import RunDirectory
from glasshouse.run.lineage import lineage, open_trace
from glasshouse.run.tracing import index_judged, index_pretraining
from glasshouse.tokenizer import Tokenizer

from .test_tracing import QUIET, SENTENCE, grown


@pytest.fixture
def runs(tmp_path: Path, tokenizer: Tokenizer) -> tuple[RunDirectory, RunDirectory]:
    """(the run that pretrained, the run that aligned its model)."""
    first = grown(tmp_path / "first", tokenizer, [f"A story. {SENTENCE} He slept."])
    first.recipe_path.write_text(dump_toml({"seed": 1}))
    model = first.stage("sft") / "checkpoint"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"\0" * 64)
    aligned = RunDirectory(tmp_path / "aligned").create()
    aligned.recipe_path.write_text(dump_toml({
        "method": "dpo", "model": str(model), "weights": weights_id(model), "data": "votes.jsonl", "data_sha256": "0",
        "settings": {},
    }))  # fmt: skip
    return first, aligned


def test_the_runs_before_are_found(runs: tuple[RunDirectory, RunDirectory]) -> None:
    first, aligned = runs
    assert [run.path for run in lineage(aligned)] == [aligned.path, first.path]
    assert [run.path for run in lineage(first)] == [first.path]


def test_an_answer_is_led_to_the_text_of_one_and_the_votes_of_the_other(
    runs: tuple[RunDirectory, RunDirectory],
) -> None:
    first, aligned = runs
    index_pretraining(first, QUIET)
    index_judged(aligned, [Preference((Message("user", "Lemon or lime?"),), "Lemon.", "Lime.", "p1")], "votes.jsonl")
    traced = open_trace(aligned).trace(f"I say: {SENTENCE}", "A lemon?")
    assert traced.trace.quotations[0].places[0].source == "0.txt"
    assert [near.example.answer for near in traced.nearest["align"]] == ["Lemon."]


def test_weights_that_have_changed_since_lead_nowhere(runs: tuple[RunDirectory, RunDirectory]) -> None:
    first, aligned = runs
    (first.path / "sft" / "checkpoint" / "model.safetensors").write_bytes(b"\1" * 64)
    with pytest.raises(DataError, match=r"other weights than .* holds now"):
        open_trace(aligned)


def test_a_model_of_no_run_ends_the_line(runs: tuple[RunDirectory, RunDirectory]) -> None:
    first, aligned = runs
    first.recipe_path.unlink()
    assert [run.path for run in lineage(aligned)] == [aligned.path]
