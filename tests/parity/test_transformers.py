"""The same weights give the same logits and the same text here and in transformers, both ways, for both families."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from glasshouse.checkpoint import load_model, save_checkpoint
from glasshouse.core.files import read_json
from glasshouse.model import ModelConfig, Transformer
from glasshouse.model.config import RopeScaling
from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
N_NEW = 24
SHAPE: dict[str, Any] = {
    "d_model": 64, "n_layers": 3, "n_heads": 4, "d_head": 24, "d_ff": 112, "max_seq_len": 128, "rope_theta": 1e4,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3 grouped tied": {"n_kv_heads": 2, "has_qk_norm": True, "ties_embeddings": True},
    "qwen3 full untied": {"n_kv_heads": 4, "has_qk_norm": True, "ties_embeddings": False, "rope_theta": 1e6},
    "llama one kv head tied": {"n_kv_heads": 1, "has_qk_norm": False, "ties_embeddings": True},
    "llama untied": {"n_kv_heads": 2, "has_qk_norm": False, "ties_embeddings": False, "norm_eps": 1e-5},
    "llama 3 stretched rope": {
        "n_kv_heads": 2, "has_qk_norm": False, "ties_embeddings": True, "rope_theta": 5e5,
        "rope_scaling": RopeScaling(factor=8.0, original_max_seq_len=32),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(
        ["the house is made of glass", "and everyone can see inside"] * 8, TokenizerConfig(vocab_size=290)
    )


@pytest.fixture(params=FAMILIES)
def config(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> ModelConfig:
    return ModelConfig(vocab_size=tokenizer.vocab_size, **{**SHAPE, **FAMILIES[request.param]})


@pytest.fixture
def ids_BT(config: ModelConfig) -> torch.Tensor:
    return torch.randint(0, config.vocab_size, (2, 40), generator=torch.Generator().manual_seed(3))


def randomise(module: torch.nn.Module) -> None:
    """Large random weights, norms too, so that every part of the computation shows in the logits."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for _, parameter in sorted(module.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * noise if parameter.dim() == 1 else 0.15 * noise)


@torch.no_grad()
def greedy(next_logits: Callable[[torch.Tensor], torch.Tensor], ids: list[int]) -> list[int]:
    """Greedy text without a cache."""
    ids = list(ids)
    for _ in range(N_NEW):
        ids.append(int(next_logits(torch.tensor([ids]))[0, -1].argmax()))
    return ids


@torch.no_grad()
def greedy_cached(model: Transformer, ids: list[int]) -> list[int]:
    cache, ids = model.new_cache(1, 4), list(ids)
    logits_BTV = model(torch.tensor([ids]), cache=cache)
    for _ in range(N_NEW):
        ids.append(int(logits_BTV[0, -1].argmax()))
        logits_BTV = model(torch.tensor([ids[-1:]]), cache=cache)
    return ids


def compare(ours: Transformer, theirs: Any, ids_BT: torch.Tensor) -> None:
    with torch.no_grad():
        ours_BTV, theirs_BTV = ours(ids_BT), theirs(ids_BT).logits
    assert theirs_BTV.std() > 0.1  # the comparison says something
    assert (ours_BTV - theirs_BTV).abs().max() <= TOLERANCE
    prompt = ids_BT[0, :9].tolist()
    text = theirs.generate(
        ids_BT[:1, :9], attention_mask=torch.ones(1, 9, dtype=torch.long), max_new_tokens=N_NEW, min_new_tokens=N_NEW,
        do_sample=False, eos_token_id=None, pad_token_id=0,
    )[0].tolist()  # fmt: skip
    assert greedy(ours, prompt) == text
    assert greedy_cached(ours, prompt) == text
    assert len(set(text[9:])) > 3  # not one token over and over


def test_a_transformers_model_opened_by_us(
    config: ModelConfig, tokenizer: Tokenizer, ids_BT: torch.Tensor, tmp_path: Path
) -> None:
    """Its own config.json and its own weights file; only the tokenizer is put beside them."""
    theirs = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config.to_hf())).eval()
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    ours, _ = load_model(tmp_path)
    assert ours.config == config
    compare(ours, theirs, ids_BT)


def test_ours_opened_by_transformers(
    config: ModelConfig, tokenizer: Tokenizer, ids_BT: torch.Tensor, tmp_path: Path
) -> None:
    ours = Transformer(config).eval()
    randomise(ours)
    folder = save_checkpoint(
        tmp_path / "ours", ours, tokenizer, recipe={}, cost=None, provenance={}, max_shard_bytes=100_000
    )
    theirs, notes = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert type(theirs).__name__ == config.architecture
    assert not notes["missing_keys"] and not notes["unexpected_keys"] and not notes["mismatched_keys"]
    assert theirs.dtype == torch.float32
    assert theirs.generation_config.eos_token_id == [tokenizer.im_end_id, tokenizer.end_of_text_id]
    compare(ours, theirs, ids_BT)


def test_gradients_are_the_same(
    config: ModelConfig, ids_BT: torch.Tensor, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Training, too: our hand-written backward passes against theirs."""
    theirs = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config.to_hf())).eval()
    randomise(theirs)
    ours = Transformer(config)
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if k in ours.state_dict()})
    weight_BTV = torch.randn(*ids_BT.shape, config.vocab_size, generator=torch.Generator().manual_seed(5))
    (ours(ids_BT) * weight_BTV).mean().backward()
    (theirs(ids_BT).logits * weight_BTV).mean().backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-3, atol=1e-6, msg=name)


def test_config_json_survives_transformers(config: ModelConfig, tmp_path: Path) -> None:
    """Read and written by transformers, our config still means the same to us."""
    transformers.AutoConfig.for_model(**config.to_hf()).save_pretrained(tmp_path)
    values = {**read_json(tmp_path / "config.json"), "architectures": [config.architecture]}
    assert ModelConfig.from_hf(values) == config
