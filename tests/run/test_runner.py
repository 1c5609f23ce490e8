"""Which stages run, which are skipped, and what an interruption leaves; stages here only write down that they ran."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glasshouse.core.config import parse_config
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.files import write_text
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import DeviceProfile
from glasshouse.run import runner
from glasshouse.run.recipe import Recipe
from glasshouse.run.runner import run_recipe, unfinished_stages
from glasshouse.run.stages import STAGES, Stage, StageContext

PROFILE = DeviceProfile("test", "cpu", 2, 24_000_000_000, 3e11, 1e10, time.time(), "2")
MODEL = {"vocab_size": 64, "d_model": 8, "n_layers": 1, "n_heads": 1, "n_kv_heads": 1, "d_head": 8, "d_ff": 8,
         "max_seq_len": 8}  # fmt: skip


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of stages in the order they ran."""
    names: list[str] = []

    def work(context: StageContext) -> dict[str, Any]:
        names.append(context.name)
        (context.folder / "kept").touch()
        return {"n": len(names)}

    monkeypatch.setattr(runner, "STAGES", {name: replace(stage, work=work) for name, stage in STAGES.items()})
    return names


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("some text\n")
    return path


def recipe(text: Path, **changes: Any) -> Recipe:
    train = {"steps": 2, "seq_len": 8, "batch_tokens": 8}
    values: dict[str, Any] = {
        "stages": ["corpus", "tokenizer", "pretrain", "evals-pretrain"],
        "corpus": {"sources": [str(text)]}, "model": MODEL, "pretrain": train, "sft": train,
    }  # fmt: skip
    for key, value in changes.items():
        section, _, name = key.partition("__")
        values[section] = {**values.get(section, {}), name: value} if name else value
    return parse_config(Recipe, values)


def live(recipe: Recipe, run: RunDirectory) -> tuple[str, ...]:
    return run_recipe(recipe, run, Terminal(is_quiet=True), PROFILE).skipped


def test_a_second_run_does_nothing(tmp_path: Path, text: Path, ran: list[str]) -> None:
    run = RunDirectory(tmp_path / "run")
    assert live(recipe(text), run) == ()
    assert ran == list(recipe(text).stages)
    assert live(recipe(text), run) == recipe(text).stages
    assert len(ran) == 4


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"pretrain__steps": 3}, "pretrain"),
        ({"tokenizer__vocab_size": 300}, "tokenizer"),
        ({"evals__n_documents": 3}, "evals-pretrain"),
        ({"corpus__holdout_fraction": 0.5}, "corpus"),
        ({"seed": 5}, "corpus"),
    ],
)
def test_what_changed_and_all_behind_it_runs_again(
    tmp_path: Path, text: Path, ran: list[str], change: dict[str, Any], first: str
) -> None:
    run = RunDirectory(tmp_path / "run")
    live(recipe(text), run)
    ran.clear()
    live(recipe(text, **change), run)
    stages = list(recipe(text).stages)
    assert ran == stages[stages.index(first) :]


@pytest.mark.parametrize("change", [{"evals__n_documents": 3}, {"trust__size": "whole"}])
def test_what_only_judges_makes_nothing_behind_it_run_again(
    tmp_path: Path, text: Path, ran: list[str], change: dict[str, Any]
) -> None:
    stages = ["corpus", "tokenizer", "pretrain", "evals-pretrain", "trust-pretrain", "sft", "evals-sft", "trust-sft"]
    run = RunDirectory(tmp_path / "run")
    live(recipe(text, stages=stages), run)
    assert ran == stages
    ran.clear()
    live(recipe(text, stages=stages, **change), run)
    kind = next(iter(change)).partition("__")[0]
    assert ran == [stage for stage in stages if stage.startswith(kind)]


def test_changed_text_is_noticed(tmp_path: Path, text: Path, ran: list[str]) -> None:
    run = RunDirectory(tmp_path / "run")
    live(recipe(text), run)
    ran.clear()
    text.write_text("other text, longer\n")
    assert unfinished_stages(recipe(text), run) == list(recipe(text).stages)
    live(recipe(text), run)
    assert len(ran) == 4


def test_an_interrupted_stage_keeps_its_folder_and_a_changed_one_does_not(
    tmp_path: Path, text: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path / "run")
    whole = dict(runner.STAGES)

    def stop(context: StageContext) -> dict[str, Any]:
        (context.folder / "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "STAGES", {**whole, "pretrain": Stage(stop, STAGES["pretrain"].reads)})
    with pytest.raises(KeyboardInterrupt):
        live(recipe(text), run)
    assert [e["kind"] for e in run.events()][-1] == "interrupted"
    assert unfinished_stages(recipe(text), run) == ["pretrain", "evals-pretrain"]
    monkeypatch.setattr(runner, "STAGES", whole)
    live(recipe(text), run)
    assert (run.path / "pretrain" / "half").exists()
    live(recipe(text, pretrain__steps=9), run)
    assert not (run.path / "pretrain" / "half").exists()


def test_a_failing_stage_is_recorded_and_not_finished(
    tmp_path: Path, text: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path / "run")

    def fail(context: StageContext) -> dict[str, Any]:
        raise DataError("no good")

    monkeypatch.setattr(runner, "STAGES", {**runner.STAGES, "tokenizer": Stage(fail, ("tokenizer",))})
    with pytest.raises(DataError):
        live(recipe(text), run)
    assert ran == ["corpus"]
    assert unfinished_stages(recipe(text), run)[0] == "tokenizer"


def test_two_processes_do_not_share_a_run(
    tmp_path: Path, text: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path / "run")

    def nested(context: StageContext) -> dict[str, Any]:
        live(recipe(text), RunDirectory(run.path))
        return {}

    monkeypatch.setattr(runner, "STAGES", {**runner.STAGES, "corpus": Stage(nested, ("corpus",))})
    with pytest.raises(ConfigError, match="another process"):
        live(recipe(text), run)


def test_torn_records_mean_run_again(tmp_path: Path, text: Path, ran: list[str]) -> None:
    run = RunDirectory(tmp_path / "run")
    live(recipe(text), run)
    write_text(run.path / "tokenizer" / "finished.json", '{"inputs": "ab')
    assert unfinished_stages(recipe(text), run) == ["tokenizer"]


def test_costs_and_versions_are_written_down(tmp_path: Path, text: Path, ran: list[str]) -> None:
    run = RunDirectory(tmp_path / "run")
    live(recipe(text), run)
    actual = json.loads((run.path / "actual.json").read_text())
    assert set(actual["stages"]) == set(recipe(text).stages)
    assert actual["is_one_run"] and actual["peak_memory_bytes"] > 1e6 and "torch" in actual["versions"]
    finished = [e for e in run.events() if e["kind"] == "finished"]
    assert actual["cost"]["seconds"] == pytest.approx(sum(e["cost"]["seconds"] for e in finished))


def test_the_peak_of_a_run_is_that_of_all_processes_that_worked_on_it(
    tmp_path: Path, text: Path, ran: list[str]
) -> None:
    run = RunDirectory(tmp_path / "run")
    live(recipe(text), run)
    record = run.path / "tokenizer" / "finished.json"
    write_text(record, json.dumps({**json.loads(record.read_text()), "peak_memory_bytes": 10**15}))
    live(recipe(text), run)
    assert json.loads((run.path / "actual.json").read_text())["peak_memory_bytes"] == 10**15
