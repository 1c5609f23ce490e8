"""A ladder of toy models, cut off and gone on with."""

from pathlib import Path

import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.core.files import read_json
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal, format_count
from glasshouse.plan import read_fit
from glasshouse.report import render_ladder
from glasshouse.run import ladder as module
from glasshouse.run.ladder import Ladder, LadderConfig


class Cut(Exception):
    """Power is gone."""


def ladder(folder: Path, **options) -> Ladder:
    text = folder / "text.txt"
    if not text.exists():
        text.write_text("the quick brown fox jumps over the lazy dog. " * 2000)
    config = LadderConfig(
        time="3s", widths=(8, 16), held_out=24, seq_len=32, batch_tokens=128, shares=(0.4, 0.7, 1.0),
        corpus={"sources": [str(text)]}, tokenizer={"kind": "char", "vocab_size": 64}, **options,
    )  # fmt: skip
    return Ladder(config, RunDirectory(folder / "ladder"), Terminal(is_quiet=True))


@pytest.fixture(autouse=True)
def _sizes_cost_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time_step", lambda shape, config: 0.01)  # the machine's own noise is no matter here
    monkeypatch.setattr("glasshouse.plan.ladder.MIN_STEPS", 10)


def test_a_ladder_cut_off_goes_on_to_its_prediction_and_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = module.held_out_loss, []

    def dies_at_the_third(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise Cut
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "held_out_loss", dies_at_the_third)
    with pytest.raises(Cut):
        ladder(tmp_path).climb()
    before = read_json(tmp_path / "ladder" / "ladder.json")
    assert [entry["loss"] is None for entry in before["rungs"]] == [False, False, True, True, True, True, True]
    record = ladder(tmp_path).climb()
    assert record["rungs"][:2] == before["rungs"][:2]
    assert len(calls) == 3 + 5
    assert record["truth"]["loss"] == record["rungs"][-1]["loss"]
    assert record["prediction"]["low"] <= record["prediction"]["loss"] <= record["prediction"]["high"]
    assert ladder(tmp_path).climb() == record  # nothing is trained twice
    assert read_fit(tmp_path / "ladder").origin.startswith("a ladder of")
    page = render_ladder(RunDirectory(tmp_path / "ladder")).read_text()
    assert f"{record['truth']['loss']:.3f}" in page
    drawn = page[page.index("<svg") : page.index("</svg>")]
    tokens = [format_count(n) for n in sorted({entry["rung"]["tokens"] for entry in record["rungs"]})]
    places = [drawn.rindex(f">{n}</text>") for n in tokens]  # the legend, from few to many
    assert places == sorted(places) and "#000" not in drawn  # readable on a dark page too


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    first = ladder(tmp_path)
    first.run.create()
    module.write_json(first.path, first._begin())
    with pytest.raises(ConfigError, match="other settings \\(seed\\)"):
        ladder(tmp_path, seed=2)._begin()
