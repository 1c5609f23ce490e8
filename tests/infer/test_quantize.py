"""Weights as small integers: how near they are, how they are kept, and what they cost in bits per byte."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from glasshouse.checkpoint import save_checkpoint
from glasshouse.checkpoint.weights import EMBEDDING
from glasshouse.core.errors import CheckpointError, ConfigError
from glasshouse.infer import quantize as module
from glasshouse.infer.quantize import (
    GROUP,
    QuantizedMatrix,
    integer_linear,
    load_quantized,
    quantize,
    quantize_activations,
    quantize_matrix,
    quantized_path,
    quantized_transformer,
)
from glasshouse.model import Transformer
from glasshouse.tokenizer import Tokenizer


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def folder(tmp_path: Path, model: Transformer, tokenizer: Tokenizer) -> Path:
    return save_checkpoint(tmp_path / "model", model, tokenizer, recipe={}, cost=None, provenance={})


@pytest.mark.parametrize(("bits", "error"), [(8, 0.0065), (4, 0.11)])
def test_codes_are_near(bits: int, error: float) -> None:
    """Against Gaussian weights of 64 a group, as relative error."""
    weight = gaussian(32, 200)
    matrix = quantize_matrix(weight, bits)
    assert (matrix.dequantize() - weight).norm() / weight.norm() < error
    assert matrix.code_NK.shape == (32, 256)
    assert matrix.scale_NG.shape == (32, 4)


@given(st.integers(0, 2**31), st.sampled_from([8, 4]), st.floats(1e-20, 1e20))
def test_every_code_is_within_half_a_step_or_at_the_end(seed: int, bits: int, size: float) -> None:
    weight = gaussian(3, 70, seed=seed) * size
    matrix = quantize_matrix(weight, bits)
    step = matrix.scale_NG.float().abs().repeat_interleave(GROUP, 1)[:, :70]
    low, high = module.LIMITS[bits]
    is_at_end = (matrix.code_NK[:, :70] == low) | (matrix.code_NK[:, :70] == high)
    error = (matrix.dequantize() - weight).abs()
    assert bool(((error <= 0.501 * step) | is_at_end).all())


def test_four_bits_are_chosen_better_than_by_the_peak_alone() -> None:
    weight = gaussian(64, 256)
    peak = weight.unflatten(1, (-1, GROUP)).abs().amax(-1) / 7
    by_peak = (weight.unflatten(1, (-1, GROUP)) / peak[..., None]).round() * peak[..., None]
    ours = quantize_matrix(weight, 4).dequantize()
    assert (ours - weight).square().mean() < 0.9 * (by_peak.flatten(1) - weight).square().mean()


def test_zeros_stay_zeros() -> None:
    for bits in (8, 4):
        matrix = quantize_matrix(torch.zeros(2, 64), bits)
        assert torch.equal(matrix.dequantize(), torch.zeros(2, 64))
    code, scale = quantize_activations(torch.zeros(1, 64))
    assert not code.any()
    assert not scale.any()


def test_group_scales_are_worth_more_than_the_eighth_bit() -> None:
    """Seven bits a group of 64 against eight bits a row, where one input is far larger than the others."""
    x = gaussian(50, 512)
    x[:, 7] *= 30
    code, scale = quantize_activations(x)
    grouped = (code.unflatten(1, (-1, GROUP)) * scale[..., None]).flatten(1)
    row_scale = x.abs().amax(1, keepdim=True) / 127
    by_row = (x / row_scale).round() * row_scale
    error, error_by_row = (grouped - x)[:, GROUP:].norm(), (by_row - x)[:, GROUP:].norm()  # beside the large one
    assert error < 0.5 * error_by_row


@pytest.mark.parametrize("bits", [8, 4])
def test_the_integer_product_is_near_the_product(bits: int) -> None:
    x, matrix = gaussian(9, 100), quantize_matrix(gaussian(40, 100, seed=1), bits)
    exact = x @ matrix.dequantize().T
    assert (integer_linear(x, matrix) - exact).norm() / exact.norm() < 0.015


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_the_file_gives_back_what_was_quantized(folder: Path, model: Transformer, weights: str) -> None:
    path = quantize(folder, weights)  # type: ignore[arg-type]
    assert path == folder / "glasshouse" / "quantized" / f"{weights}.safetensors"
    loaded = load_quantized(folder, weights)  # type: ignore[arg-type]
    assert loaded.keys() == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        value = loaded[name]
        if parameter.ndim == 1:
            assert torch.equal(value, parameter)  # type: ignore[arg-type]
            continue
        assert isinstance(value, QuantizedMatrix)
        assert value.bits == (4 if weights == "int4" and "embed" not in name else 8)
        expected = quantize_matrix(parameter.detach(), value.bits)
        assert torch.equal(value.code_NK, expected.code_NK)
        assert torch.equal(value.scale_NG, expected.scale_NG)
        assert value.dequantize().shape == parameter.shape


def test_a_file_is_made_once_and_again_when_its_source_changes(
    folder: Path, model: Transformer, tokenizer: Tokenizer
) -> None:
    path = quantize(folder, "int8")
    made_at = path.stat().st_mtime_ns
    quantize(folder, "int8")
    assert path.stat().st_mtime_ns == made_at
    other = Transformer(model.config, seed=9)
    kept = path.read_bytes()
    save_checkpoint(folder, other, tokenizer, recipe={}, cost=None, provenance={})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(kept)
    with pytest.raises(CheckpointError, match="not made of the weights"):
        load_quantized(folder, "int8")
    quantize(folder, "int8")
    norm = load_quantized(folder, "int8")["model.layers.0.mlp.up_proj.weight"]
    assert isinstance(norm, QuantizedMatrix)
    expected = other.model.layers[0].mlp.up_proj.weight.detach()
    assert (norm.dequantize() - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("content", [b"", b"not a safetensors file", b"\xff" * 100], ids=["empty", "text", "ones"])
def test_a_damaged_file_is_refused_and_made_anew(folder: Path, content: bytes) -> None:
    path = quantize(folder, "int4")
    before = load_quantized(folder, "int4")[EMBEDDING].code_NK.clone()  # type: ignore[union-attr]
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        load_quantized(folder, "int4")
    quantize(folder, "int4")
    after = load_quantized(folder, "int4")
    assert torch.equal(after[EMBEDDING].code_NK, before)  # type: ignore[union-attr]


def test_an_interrupted_write_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **settings: object) -> None:
        Path(str(args[1])).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(module, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        quantize(folder, "int8")
    assert list(quantized_path(folder, "int8").parent.iterdir()) == []


def test_files_say_what_they_are(folder: Path) -> None:
    with safe_open(quantize(folder, "int8"), framework="pt") as file:
        metadata = file.metadata()
    assert metadata["weights"] == "int8"
    assert metadata["source"] == module.source_hash(folder)
    with pytest.raises(ConfigError, match="int8 or int4"):
        quantize(folder, "int3")  # type: ignore[arg-type]


def test_the_torch_module_computes_with_integers(folder: Path, model: Transformer) -> None:
    quantize(folder, "int4")
    rounded = quantized_transformer(model.config, load_quantized(folder, "int4"))
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        difference = (rounded(ids) - model(ids)).norm() / model(ids).norm()
    assert 0.01 < difference < 0.7
