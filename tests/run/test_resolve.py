"""A recipe as written becomes one with every value; nothing is measured here, so the plan is a pure function."""

import time
from pathlib import Path

import pytest

from glasshouse.core.config import parse_config, read_toml
from glasshouse.core.errors import ConfigError
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal
from glasshouse.meter import DeviceProfile
from glasshouse.plan import Measured
from glasshouse.run import resolve as resolving
from glasshouse.run.recipe import Recipe
from glasshouse.run.resolve import load_draft, read_resolved, resolve, settle

PROFILE = DeviceProfile("test", "cpu", 2, 24_000_000_000, 3e11, 1e10, time.time(), "2")
MEASURED = Measured(PROFILE, 14e6, 3.4, lambda model, stage: 0.5, {"corpus": 20.0})
RECIPE = """
[dial]
time = "5m"
[pretrain]
seq_len = 128
batch_tokens = 4096
[sft]
seq_len = 128
batch_tokens = 4096
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_the_dial_decides_what_is_left_open_and_says_so(tmp_path: Path) -> None:
    recipe, plan, origins = resolve(load_draft(write(tmp_path, RECIPE), ["seed=7"]), MEASURED)
    assert recipe.name == "mine" and recipe.seed == 7
    assert plan is not None and recipe.pretrain.steps == plan.stages["pretrain"].steps > 10
    assert origins["pretrain.steps"] == origins["model.d_model"] == "derived from the dial"
    assert origins["pretrain.seq_len"] == "mine.toml"
    assert origins["seed"] == "--set"
    assert origins["pretrain.clip_norm"] == "default"


def test_given_values_win_over_the_dial(tmp_path: Path) -> None:
    recipe, _, origins = resolve(load_draft(write(tmp_path, RECIPE), ["sft.steps=33"]), MEASURED)
    assert recipe.sft.steps == 33 and origins["sft.steps"] == "--set"


def test_turning_one_knob_replaces_the_recipe_s(tmp_path: Path) -> None:
    draft = load_draft(write(tmp_path, RECIPE), dial={"params": "1M"})
    recipe, _, _ = resolve(draft, MEASURED)
    assert recipe.dial is not None and (recipe.dial.params, recipe.dial.time) == ("1M", None)


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (RECIPE.replace("batch_tokens = 4096\n[sft]", "batch_tokenz = 4096\n[sft]"), [], 'mine.toml:6.*"batch_tokens"'),
        (RECIPE, ["sft.stepz=1"], 'Did you mean "steps"'),
        (RECIPE, ["dial.params=5M"], "exactly one"),
        (RECIPE, ["dial.time=soon"], "a time is written like"),
        (RECIPE, ['stages=["tokenizer"]'], "tokenizer needs corpus"),
        (RECIPE, ['stages=["corpus", "polish"]'], "unknown stage 'polish'"),
        ("[pretrain]\nseq_len = 8\nbatch_tokens = 8\n[sft]\nseq_len = 8\nbatch_tokens = 8\n", [], "without a dial"),
    ],
)  # fmt: skip
def test_bad_recipes_are_refused_before_anything_is_measured(
    tmp_path: Path, text: str, settings: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_draft(write(tmp_path, text), settings)


def test_a_run_keeps_the_values_it_was_started_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.5, 0.1])

    def measure(recipe: Recipe) -> Measured:
        step_s = next(seconds)
        return Measured(PROFILE, 14e6, 3.4, lambda model, stage: step_s, {"corpus": 20.0})

    monkeypatch.setattr(resolving, "measure", measure)
    run, path = RunDirectory(tmp_path / "run"), write(tmp_path, RECIPE)
    first = settle(load_draft(path), run, Terminal(is_quiet=True))
    again = settle(load_draft(path), run, Terminal(is_quiet=True))
    assert first == again == read_resolved(run)
    changed = settle(load_draft(path, ["seed=2"]), run, Terminal(is_quiet=True))
    assert changed.pretrain.steps > first.pretrain.steps


def test_the_resolved_recipe_reads_back_with_its_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "measure", lambda recipe: MEASURED)
    run = RunDirectory(tmp_path / "run")
    recipe = settle(load_draft(write(tmp_path, RECIPE)), run, Terminal(is_quiet=True))
    values, text = read_toml(run.recipe_path)
    assert parse_config(Recipe, values) == recipe
    assert "# derived from the dial" in text
