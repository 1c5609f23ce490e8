import json

import pytest

from glasshouse.train import compiling
from glasshouse.train.compiling import choose, prepare


def test_long_runs_compile_and_short_ones_do_not(monkeypatch):
    monkeypatch.setattr(compiling.shutil, "which", lambda name: "/usr/bin/g++")
    assert choose("auto", 100_000, 0.02, True).is_compiled
    short = choose("auto", 1_000, 0.02, True)
    assert not short.is_compiled and "would save 4.6 s, costs about 25 s" in short.reason
    assert not choose("auto", 100_000, 0.02, False).is_compiled
    assert not choose("auto", 100_000, None, True).is_compiled
    assert choose("always", 1, None, False).is_compiled
    assert not choose("never", 10**9, 1.0, True).is_compiled


def test_no_compiler_means_eager(monkeypatch):
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    assert "no C++ compiler" in choose("auto", 10**9, 1.0, True).reason


def prepare_with(folder, monkeypatch, times, fails=False):
    """`times`: seconds the clock will say for eager, then compiled."""
    monkeypatch.setattr(compiling.shutil, "which", lambda name: "/usr/bin/g++")
    clock = iter(times)
    monkeypatch.setattr(compiling, "_time_step", lambda step: next(clock))

    class Fake:
        pass

    monkeypatch.setattr(compiling, "CompiledModel", lambda model: Fake())

    def probe(model):
        if fails and isinstance(model, Fake):
            raise RuntimeError("no such luck")

    model = object()
    trained, choice = prepare(model, probe, mode="auto", n_steps=100_000, has_fixed_shape=True, folder=folder)
    assert (trained is not model) == choice.is_compiled
    return choice


def test_the_gain_is_measured_and_the_choice_kept(tmp_path, monkeypatch):
    first = prepare_with(tmp_path, monkeypatch, [0.02, 0.01])
    assert first.is_compiled and "20.0 → 10.0 ms" in first.reason
    again = prepare_with(tmp_path, monkeypatch, [])  # a resumed run asks no clock
    assert again == first
    assert json.loads((tmp_path / "compile.json").read_text())["is_compiled"] is True


@pytest.mark.parametrize(("times", "fails", "reason"), [([0.02, 0.02], False, "no faster"), ([0.02], True, "failed")])
def test_what_does_not_help_is_not_used(tmp_path, monkeypatch, times, fails, reason):
    choice = prepare_with(tmp_path, monkeypatch, times, fails)
    assert not choice.is_compiled and reason in choice.reason
