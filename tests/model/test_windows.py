"""Layers that read a window of tokens: as transformers computes them, by mask, by blocks, by cache and by pages."""

import json

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from glasshouse.core.errors import CheckpointError, ConfigError
from glasshouse.infer import Engine, SamplingConfig
from glasshouse.infer.native import why_torch
from glasshouse.infer.standalone import export_standalone
from glasshouse.model import ModelConfig, Transformer, flops_per_token
from glasshouse.model.attention import attend, document_blocks, document_mask
from glasshouse.parallel.mesh import check_model
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer

SHAPE = ModelConfig(
    vocab_size=60, d_model=32, n_layers=5, n_heads=4, n_kv_heads=2, d_head=8, d_ff=48, max_seq_len=64, window=6,
    window_pattern="SL",
)  # fmt: skip


@pytest.fixture
def model() -> Transformer:
    made = Transformer(SHAPE, seed=3)
    with torch.no_grad():
        for p in made.parameters():  # large enough that what is read shows
            p.mul_(4 if p.ndim > 1 else 1)
    return made


def ids_of(n_rows: int, n_time: int) -> torch.Tensor:
    return torch.randint(60, (n_rows, n_time), generator=torch.Generator().manual_seed(1))


def test_the_pattern_is_repeated() -> None:
    assert SHAPE.windows == (6, None, 6, None, 6)
    assert SHAPE.model_copy(update={"window_pattern": "SSSL"}).windows == (6, 6, 6, None, 6)
    assert SHAPE.model_copy(update={"window": None}).windows == (None,) * 5


def test_transformers_reads_the_same(model: Transformer) -> None:
    theirs = Qwen3ForCausalLM(Qwen3Config(**SHAPE.to_hf(), attn_implementation="eager")).eval()
    theirs.load_state_dict(model.state_dict(), strict=False)
    ids_BT = ids_of(2, 30)
    with torch.no_grad():
        ours = model(ids_BT)
        torch.testing.assert_close(ours, theirs(ids_BT).logits, rtol=1e-4, atol=1e-4)
        full = Transformer(SHAPE.model_copy(update={"window": None}), seed=None)
        full.load_state_dict(model.state_dict())
        assert (full(ids_BT) - ours).abs().max() > 0.1  # or windows would not show
        torch.testing.assert_close(full(ids_BT)[:, :6], ours[:, :6])


def test_its_config_comes_back() -> None:
    assert ModelConfig.from_hf(json.loads(json.dumps(SHAPE.to_hf()))).windows == SHAPE.windows
    by_number = {**SHAPE.to_hf(), "max_window_layers": 2}
    del by_number["layer_types"]
    assert ModelConfig.from_hf(by_number).windows == (None, None, 6, 6, 6)
    assert ModelConfig.from_hf({**by_number, "use_sliding_window": False}).window is None


def test_a_row_read_piece_by_piece(model: Transformer) -> None:
    ids_BT = ids_of(2, 40)
    cache = model.new_cache(2)
    with torch.no_grad():
        pieces = [model(piece, cache=cache) for piece in ids_BT.split([1, 20, 3, 1, 15], dim=1)]
        torch.testing.assert_close(torch.cat(pieces, 1), model(ids_BT), rtol=1e-4, atol=1e-4)


def test_the_engine_reads_no_further() -> None:
    text = "the quick brown fox jumps over the lazy dog "
    tokenizer = train_tokenizer([text], TokenizerConfig(kind="char", vocab_size=60))
    model = Transformer(SHAPE.model_copy(update={"vocab_size": tokenizer.vocab_size}), seed=3)
    engine = Engine(model, tokenizer)
    prompts = [tokenizer.encode(text[start:][:length]) for start, length in ((0, 30), (3, 5), (7, 25))]
    completions = engine.generate(prompts, SamplingConfig(max_tokens=12, temperature=0.0))
    for prompt, completion in zip(prompts, completions):
        ids = list(prompt)
        with torch.no_grad():
            for _ in completion.ids:
                ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
        assert ids[len(prompt) :] == list(completion.ids)


def test_blocks_equal_masks() -> None:
    g = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 2, 200, 16, generator=g) for _ in range(3))
    document_BT = (torch.rand(2, 200, generator=g) < 0.03).cumsum(1)
    with torch.no_grad():
        by_blocks = attend(q, k, v, document_blocks(document_BT, 17))
        torch.testing.assert_close(by_blocks, attend(q, k, v, document_mask(document_BT, 17)), rtol=1e-5, atol=1e-6)
    assert document_blocks(torch.zeros(1, 2048), 128).sparsity() > document_blocks(torch.zeros(1, 2048)).sparsity()


def test_what_it_costs() -> None:
    full = flops_per_token(SHAPE.model_copy(update={"window": None}), 64)
    saved = 3 * 4.0 * 4 * 8 * 3 * (64 - 6)  # three layers of five
    assert full - flops_per_token(SHAPE, 64) == pytest.approx(saved)


def test_what_cannot_compute_windows_says_so(model: Transformer, tmp_path) -> None:
    assert "no windows" in str(why_torch(SHAPE))
    with pytest.raises(ValueError, match="window needs has_qk_norm"):
        ModelConfig(**{**SHAPE.model_dump(), "has_qk_norm": False})
    with pytest.raises(ConfigError, match="cp = 2 shares whole rows"):
        check_model(SHAPE, {"pp": 1, "dp": 1, "fsdp": 1, "tp": 1, "cp": 2}, 64)
    with pytest.raises(CheckpointError, match="layer_types contains chunked"):
        ModelConfig.from_hf({**SHAPE.to_hf(), "layer_types": ["chunked"] * 5})


def test_the_standalone_program_is_not_written(model: Transformer, tmp_path) -> None:
    from glasshouse.checkpoint import save_checkpoint

    tokenizer = train_tokenizer(["abc"], TokenizerConfig(kind="char", vocab_size=60))
    save_checkpoint(tmp_path / "model", model, tokenizer, recipe={}, cost=None, provenance={})
    with pytest.raises(ConfigError, match="does not compute"):
        export_standalone(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()
