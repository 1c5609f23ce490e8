"""The one readable file reads text as the real tokenizer does, and computes what the model computes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshouse.checkpoint import save_checkpoint
from glasshouse.core.records import Message
from glasshouse.infer import Engine, SamplingConfig
from glasshouse.infer.standalone import run
from glasshouse.model import ModelConfig, Transformer
from glasshouse.model.config import RopeScaling
from glasshouse.tokenizer import PATTERNS, Tokenizer, TokenizerConfig, train_tokenizer
from glasshouse.tokenizer.chat import JINJA_TEMPLATE

TEXTS = [Path(module.__file__ or "").read_text(encoding="utf-8") for module in (run,)]
KINDS = {
    **{f"bpe {pattern}": TokenizerConfig(vocab_size=600, pattern=pattern) for pattern in PATTERNS},
    "bpe with role tokens": TokenizerConfig(vocab_size=600, has_role_tokens=True),
    "word": TokenizerConfig(kind="word", vocab_size=400),
    "char": TokenizerConfig(kind="char", vocab_size=120),
}
EDGES = ["'s", "'S", "'ſ", "'LL", "'K", " ", "\n", "\r\n", "\t", "\x1c", "\x1f", "\x85", "\xa0", "\u180e", "\u2028",
         "\u3000", "a", "é", "e\u0301", "漢", "ǅ", "ª", "1", "²", "Ⅻ", "١", "!", "🎉", "\u200d", "\U00010d4a",
         "\U0002ebf0", "\U00016d70", "<|im_end|>", "\ud800", "\ud83d", "\ude00"]  # fmt: skip
ANY_TEXT = st.text() | st.lists(st.sampled_from(EDGES) | st.text(max_size=3), max_size=12).map("".join)


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, run.Tokenizer]:
    real = train_tokenizer([*TEXTS, "Größe 日本語 🎉 ١٢٣ " * 3], KINDS[request.param])
    folder = tmp_path_factory.mktemp("tokenizer")
    real.save(folder)
    return real, run.Tokenizer(folder)


@given(text=ANY_TEXT)
@settings(max_examples=100, deadline=None)
def test_the_same_ids_for_any_text(pair: Any, text: str) -> None:
    real, alone = pair
    assert alone.encode(text) == real.encode(text)


@pytest.mark.parametrize("pair", ["bpe qwen2"], indirect=True)
def test_the_same_ids_for_every_character(pair: Any) -> None:
    """Each between two letters, so that what it belongs to shows; planes that hold nothing are left out."""
    real, alone = pair
    for start, end in ((0, 0xD800), (0xE000, 0x33500), (0xE0000, 0xE0200)):
        for first in range(start, end, 4096):
            text = "a".join(map(chr, range(first, min(first + 4096, end))))
            assert alone.encode(text) == real.encode(text), hex(first)


@given(ids=st.lists(st.integers(0, 100), max_size=30))
def test_the_same_text_for_any_ids(pair: Any, ids: list[int]) -> None:
    real, alone = pair
    shown = "".join(run.pieces_of_text(alone, iter(ids)))
    assert shown == real.decode(ids, skips_special=True)


@given(question=ANY_TEXT, system=st.sampled_from(["", "Be brief."]))
@settings(max_examples=30)
def test_the_same_prompt(pair: Any, question: str, system: str) -> None:
    real, alone = pair
    messages = [Message("system", system)] if system else []
    expected = real.template.encode(real, [*messages, Message("user", question)], adds_generation_prompt=True)
    assert alone.knows_chat and alone.chat(question, system) == expected.ids
    assert set(alone.ends) == set(real.end_ids)


def test_the_template_is_ours() -> None:
    assert run.CHAT_TEMPLATE == JINJA_TEMPLATE
    assert PATTERNS["gpt-2"] == run.GPT2_PATTERN


def test_gpt2_s_own_vocabulary(shared_data: Path, tmp_path: Path) -> None:
    gpt2 = Tokenizer.load(shared_data / "conformance" / "gpt2")
    gpt2.save(tmp_path)
    alone = run.Tokenizer(tmp_path)
    text = TEXTS[0][:3000] + "".join(EDGES)
    assert alone.encode(text) == gpt2.encode(text) and not alone.knows_chat


SHAPES: dict[str, dict[str, Any]] = {
    "qwen3 tied": {"has_qk_norm": True, "ties_embeddings": True},
    "qwen3 untied": {"has_qk_norm": True, "ties_embeddings": False, "rope_theta": 1e6, "n_kv_heads": 4},
    "llama": {"has_qk_norm": False, "ties_embeddings": False, "norm_eps": 1e-5, "n_kv_heads": 1},
    "llama 3 stretched rope": {
        "has_qk_norm": False, "ties_embeddings": True, "rope_theta": 5e5,
        "rope_scaling": RopeScaling(factor=8.0, original_max_seq_len=32),
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=SHAPES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Path]:
    """(the engine, a checkpoint of its model)."""
    tokenizer = train_tokenizer(TEXTS, TokenizerConfig(vocab_size=400))
    shape = {"d_model": 48, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "d_head": 16, "d_ff": 96, "max_seq_len": 96}
    model = Transformer(ModelConfig(vocab_size=tokenizer.vocab_size + 7, **{**shape, **SHAPES[request.param]}), seed=5)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_((weight.dim() == 1) + 0.25 * torch.randn(weight.shape, generator=generator))
    folder = tmp_path_factory.mktemp("model") / "checkpoint"
    save_checkpoint(folder, model, tokenizer, recipe={}, cost=None, provenance={})
    return Engine(model, tokenizer), folder


def test_the_same_logits_with_and_without_the_cache(both: Any) -> None:
    engine, folder = both
    alone = run.Transformer(folder)
    ids = torch.randint(0, 390, (1, 60), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected_TV = engine.model(ids)[0].numpy()
    cache, start = alone.new_cache(60), 0
    for n in (20, 1, 30, 9):
        logits_V = alone(ids[0, start : start + n].tolist(), start, cache)
        start += n
        np.testing.assert_allclose(logits_V, expected_TV[start - 1], atol=2e-3, rtol=1e-4)


def test_the_same_greedy_ids(both: Any) -> None:
    engine, folder = both
    model, tokenizer = run.Transformer(folder), run.Tokenizer(folder)
    prompts = [engine.prompt_ids(text) for text in ("def main", "x", "", "import json " * 8)]
    for prompt, completion in zip(prompts, engine.generate(prompts, SamplingConfig(max_tokens=60))):
        ids = list(run.generate(model, tokenizer, prompt, 60, 0.0, np.random.default_rng(0)))
        assert ids == [id for id in completion.ids if id not in engine.end_ids]


def test_sampling_follows_the_distribution_and_the_seed(both: Any) -> None:
    _, folder = both
    model, tokenizer = run.Transformer(folder), run.Tokenizer(folder)
    prompt = tokenizer.encode("def")

    def draw(seed: int, temperature: float = 1.0) -> list[int]:
        return list(run.generate(model, tokenizer, prompt, 12, temperature, np.random.default_rng(seed)))

    assert draw(1) == draw(1)
    assert len({tuple(draw(seed)) for seed in range(8)}) > 4
    assert draw(3, 1e-6) == draw(4, 1e-6) == draw(0, 0.0)
    logits_V = model(prompt, 0, model.new_cache(len(prompt)))[: 1 + max(tokenizer.vocabulary.values())]
    p_V = np.exp(logits_V - logits_V.max()) / np.exp(logits_V - logits_V.max()).sum()
    firsts = [next(run.generate(model, tokenizer, prompt, 1, 1.0, np.random.default_rng(s)), -1) for s in range(600)]
    likeliest = int(p_V.argmax())
    assert abs(firsts.count(likeliest) / 600 - p_V[likeliest]) < 5 * np.sqrt(p_V[likeliest] / 600)


def test_it_can_be_read_in_one_sitting() -> None:
    text = Path(run.__file__).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert "Apache License" in text.splitlines()[0]
