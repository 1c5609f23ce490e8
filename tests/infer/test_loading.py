"""What a user names, as an engine: weights held once and counted as they are, guesses ahead, and where it came from."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from glasshouse.checkpoint import save_checkpoint
from glasshouse.core.errors import CheckpointError, ConfigError
from glasshouse.infer import Engine, SamplingConfig, loading
from glasshouse.infer.native import NativeRunner, why_unavailable
from glasshouse.infer.quantize import quantize
from glasshouse.infer.runner import TorchRunner
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer

needs_kernels = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
GREEDY = SamplingConfig(max_tokens=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model, tokenizer) -> Path:
    path = tmp_path_factory.mktemp("loading") / "model"
    return save_checkpoint(path, model, tokenizer, recipe={}, cost=None, provenance={})


def save(path, model, tokenizer) -> str:
    return str(save_checkpoint(path, model, tokenizer, recipe={}, cost=None, provenance={}))


def ids_of(engine, prompts, sampling=GREEDY):
    return [c.ids for c in engine.generate(prompts, sampling)]


# ---- guesses ahead ---------------------------------------------------------------------------------------------------


@needs_kernels
@pytest.mark.parametrize("weights", ["fp32", "int8", "int4"])
@pytest.mark.parametrize("by", ["prompt-lookup", "itself"])
def test_speculation_changes_no_token(folder, prompts, by, weights):
    repeating = [p * 3 for p in prompts if len(p) < 12]
    guessing = Engine.load(folder, "cpu", weights=weights, speculate=folder if by == "itself" else by)
    plain = Engine.load(folder, "cpu", weights=weights)
    for sampling in (GREEDY, SamplingConfig(max_tokens=20, temperature=0.7, seed=2)):
        assert ids_of(guessing, repeating, sampling) == ids_of(plain, repeating, sampling)
    stats = guessing.stats()
    assert isinstance(guessing._runner, NativeRunner) and stats.n_drafted_tokens > 0
    assert stats.accepted_share == stats.n_accepted_tokens / stats.n_drafted_tokens > 0
    assert plain.stats().accepted_share is None
    if by == "itself":
        assert stats.n_steps < plain.stats().n_steps


def test_a_draft_model_with_another_tokenizer_is_refused(folder, model, tmp_path):
    other = train_tokenizer(["another text, another vocabulary"], TokenizerConfig(vocab_size=300))
    with pytest.raises(ConfigError, match=r"cannot guess.*prompt-lookup"):
        Engine.load(folder, "cpu", speculate=save(tmp_path / "other", model, other))
    with pytest.raises(CheckpointError, match="no such directory"):
        Engine.load(folder, "cpu", speculate=tmp_path / "none" / "at" / "all")


def test_a_draft_model_of_a_shorter_context_stops_guessing(folder, model, tokenizer, tmp_path, prompts):
    short = Transformer(model.config.model_copy(update={"max_seq_len": 16}), seed=5)
    short.load_state_dict(model.state_dict(), strict=False)
    engine = Engine.load(folder, "cpu", speculate=save(tmp_path / "short", short, tokenizer))
    sampling = SamplingConfig(max_tokens=40, ignores_end=True)
    assert ids_of(engine, prompts, sampling) == ids_of(Engine.load(folder, "cpu"), prompts, sampling)
    assert 0 < engine.stats().n_drafted_tokens < 8 * 40


def test_a_draft_model_takes_its_part_of_the_budget(folder):
    def n_blocks(**options):
        return Engine.load(folder, "cpu", memory_bytes=12_000_000, max_running=64, **options)._runner.n_blocks

    assert n_blocks() > n_blocks(speculate=folder) > 0


# ---- memory ----------------------------------------------------------------------------------------------------------


@needs_kernels
@pytest.mark.parametrize("weights", ["fp32", "bf16", "int8", "int4"])
def test_weights_are_counted_as_they_are_packed(folder, model, weights):
    loaded = Engine.load(folder, "cpu", weights=weights).loaded
    assert loaded.footprint.weights == loaded.runner.n_weight_bytes
    assert isinstance(loaded.model, loading.StoredModel)


@needs_kernels
def test_the_torch_model_is_read_again_for_looking_inside(folder, model):
    engine = Engine.load(folder, "cpu", weights="int8")
    assert engine.config == model.config and engine.device.type == "cpu"
    assert all(torch.equal(a, b) for a, b in zip(engine.model.parameters(), model.parameters()))
    assert engine.model is engine.model


@needs_kernels
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_a_foreign_checkpoint_stays_one_after_it_was_quantized(folder, model, prompts, tmp_path, weights):
    """What is laid beside it is in `glasshouse/`, and must not make it look like one of ours without a manifest."""
    foreign = tmp_path / "foreign"
    shutil.copytree(folder, foreign, ignore=shutil.ignore_patterns("glasshouse"))
    quantized = Engine.load(foreign, "cpu", weights=weights)
    assert torch.equal(quantized.model.head_weight_VD, model.head_weight_VD)
    assert ids_of(Engine.load(foreign, "cpu", weights=weights), prompts) == ids_of(quantized, prompts)
    assert ids_of(Engine.load(foreign, "cpu"), prompts) == ids_of(Engine.load(folder, "cpu"), prompts)


def test_scores_and_vectors_use_the_weights_that_answer(folder, prompts):
    fp32, int4 = (Engine.load(folder, "cpu", weights=kind) for kind in ("fp32", "int4"))
    [said] = int4.generate(prompts[3:4], SamplingConfig(max_tokens=6))
    scores = int4.score([*prompts[3], *said.ids])[len(prompts[3]) - 1 :]
    assert [logp for logp, _ in scores] == list(said.logps)
    assert not torch.equal(fp32.embed(prompts[:1]), int4.embed(prompts[:1]))


MEASURE = """
import json, sys
import psutil
from glasshouse.core.environment import start_torch
start_torch()
import torch
from glasshouse.infer import Engine, SamplingConfig
torch.set_num_threads(1)
folder, tiny, weights, budget = sys.argv[1:]
process, sampling = psutil.Process(), SamplingConfig(max_tokens=2, ignores_end=True)
Engine.load(tiny, "cpu", weights=weights).generate([[5] * 40], sampling)  # what comes once
before = process.memory_info().rss
engine = Engine.load(folder, "cpu", weights=weights, memory_bytes=int(budget), max_running=4)
held = process.memory_info().rss - before
n_blocks, footprint = engine.stats().n_blocks, engine.loaded.footprint
n_tokens = n_blocks * 16 // 4 - 16
engine.generate([[5 + n, *[7 + i % 400 for i in range(n_tokens)]] for n in range(4)], sampling)
print(json.dumps({"held": held, "weights": footprint.weights, "after": process.memory_info().rss - before,
                  "blocks": n_blocks * footprint.block, "step": footprint.step}))
"""


@pytest.fixture(scope="module")
def mid_size(tmp_path_factory, tokenizer) -> Path:
    shape = ModelConfig(vocab_size=tokenizer.vocab_size, d_model=384, n_layers=10, n_heads=6, n_kv_heads=6, d_head=64,
                        d_ff=1024, max_seq_len=512)  # fmt: skip
    path = tmp_path_factory.mktemp("mid") / "model"
    save_checkpoint(path, Transformer(shape, seed=0), tokenizer, recipe={}, cost=None, provenance={})
    quantize(path, "int8")
    return path


@needs_kernels
@pytest.mark.parametrize(
    ("weights", "budget"), [("fp32", 110_000_000), pytest.param("int8", 100_000_000, marks=pytest.mark.slow)]
)
def test_memory_is_what_was_counted(mid_size, folder, weights, budget):
    """Resident memory of a process of its own: weights when loaded, blocks when used, never more than the budget."""
    command = [sys.executable, "-c", MEASURE, str(mid_size), str(folder), weights, str(budget)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert 0.85 * seen["weights"] < seen["held"] < 1.15 * seen["weights"] + 6e6, seen  # + what Python itself adds
    assert seen["after"] > 0.85 * (seen["weights"] + seen["blocks"]), seen
    assert seen["weights"] + seen["blocks"] + seen["step"] <= budget and seen["after"] < 1.15 * budget, seen


# ---- without a compiler, and on the way ------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, "bf16", "int8"])
def test_without_a_compiler_torch_answers_and_says_so(folder, prompts, monkeypatch, weights):
    monkeypatch.setattr(loading, "why_torch", lambda config: "no C++ compiler here")
    engine = Engine.load(folder, "cpu", weights=weights)
    assert engine.why_slower == "no C++ compiler here" and isinstance(engine._runner, TorchRunner)
    assert all(c.ids for c in engine.generate(prompts[:2], SamplingConfig(max_tokens=3)))
    assert engine.embed(prompts[:1]).shape[1] == engine.config.d_model
    assert engine.model.config == engine.config


def test_weights_that_do_not_fit_their_configuration_are_refused(folder, model, tokenizer, tmp_path):
    """The kernels index without asking."""
    path = tmp_path / "foreign"
    save(path, model, tokenizer)
    (path / "glasshouse" / "manifest.json").unlink()
    for file in [*(path / "glasshouse").iterdir()]:
        file.unlink()
    (path / "glasshouse").rmdir()
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "intermediate_size": 960}))
    for weights in ("fp32", "int8"):
        with pytest.raises(CheckpointError, match="do not belong together"):
            Engine.load(path, "cpu", weights=weights)
