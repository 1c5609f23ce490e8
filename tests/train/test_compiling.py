import json
from types import SimpleNamespace

import pytest
import torch

from glasshouse.core.files import write_json
from glasshouse.model import ModelConfig, Transformer
from glasshouse.model.native import why_unavailable
from glasshouse.train import compiling
from glasshouse.train.compiling import choose, prepare

SHAPE = ModelConfig(vocab_size=9, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, d_head=8, d_ff=24, max_seq_len=8)


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

    monkeypatch.setattr(compiling, "with_compiled_layers", lambda model: Fake())

    def probe(model):
        if fails and isinstance(model, Fake):
            raise RuntimeError("no such luck")

    model = SimpleNamespace(kernels="auto", device=torch.device("cpu"))
    trained, choice = prepare(
        model, probe, mode="auto", n_steps=100_000, has_fixed_shape=True, folder=folder, kernels="torch"
    )
    assert model.kernels == "torch"
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


def kernels_of(folder, model, kernels="auto", mode="never"):
    _, choice = prepare(
        model, lambda model: None, mode=mode, n_steps=1, has_fixed_shape=True, folder=folder, kernels=kernels
    )
    assert choice.is_native == (model.kernels == "auto" and mode != "always")
    assert str(choice).startswith("native" if choice.is_native else "compiled" if choice.is_compiled else "eager")
    return choice


@pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
def test_native_kernels_are_used_where_they_can_be_and_the_line_says_why_not(tmp_path, monkeypatch):
    model = Transformer(SHAPE)
    assert kernels_of(tmp_path, model).is_native
    assert kernels_of(tmp_path, model).is_native  # a run that goes on
    assert kernels_of(tmp_path, model, kernels="torch").reason == "asked for"
    assert "as this run began" in kernels_of(tmp_path, model).reason  # ... keeps what it was last trained with
    write_json(tmp_path / "older" / "compile.json", {"is_compiled": False, "reason": "asked for"})
    assert "as this run began" in kernels_of(tmp_path / "older", model).reason
    monkeypatch.setattr(compiling, "why_torch", lambda model, is_bf16: "no C++ compiler")
    _, choice = prepare(
        model, lambda model: None, mode="never", n_steps=1, has_fixed_shape=True, folder=tmp_path / "new",
        kernels="auto",
    )  # fmt: skip
    assert str(choice) == "eager: asked for; no C++ compiler"
