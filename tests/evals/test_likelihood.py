import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.records import Document
from glasshouse.evals import HeldOutText, LikelihoodConfig, bits_per_byte
from glasshouse.evals.likelihood import windows
from glasshouse.infer import Engine
from glasshouse.model import Transformer

TEXTS = ["import json\n", "def dumps(obj, *, skipkeys=False):\n    return 1\n" * 5, "x", "Größe " * 20]


def documents(texts=TEXTS) -> list[Document]:
    return [Document(str(i), text, "test") for i, text in enumerate(texts)]


def nll_of(model, tokenizer, text: str, stride: int) -> float:
    """By definition: token i is read after the ids from the first window start that leaves it within the context."""
    ids = [tokenizer.end_of_text_id, *tokenizer.encode(text)]
    context, total = model.config.max_seq_len, 0.0
    starts = [max(0, math.ceil((i - context) / stride)) * stride for i in range(1, len(ids))]
    for start in sorted(set(starts)):
        with torch.no_grad():
            logp = model(torch.tensor([ids[start : start + context]]))[0].log_softmax(-1)
        total -= sum(float(logp[i - 1 - start, ids[i]]) for i, s in enumerate(starts, 1) if s == start)
    return total


@pytest.mark.parametrize("stride", [None, 48, 7])
def test_equals_the_definition(model, tokenizer, stride):
    result = HeldOutText(tokenizer, documents(), 48, LikelihoodConfig(stride=stride)).evaluate(Engine(model, tokenizer))
    nll = sum(nll_of(model, tokenizer, text, stride or 24) for text in TEXTS)
    n_bytes = sum(len(text.encode()) for text in TEXTS)
    assert result.bits_per_byte.value == pytest.approx(nll / math.log(2) / n_bytes, rel=1e-5)
    assert result.n_bytes == n_bytes and result.stride == (stride or 24)
    assert result.n_tokens == sum(len(tokenizer.encode(text)) for text in TEXTS)
    assert result.loss_mean == pytest.approx(nll / result.n_tokens, rel=1e-5)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(1, 20), st.data())
def test_every_token_but_the_first_is_scored_once(lengths, context, data):
    stride = data.draw(st.integers(1, context))
    scored = [[0] * n for n in lengths]
    for window in windows([list(range(n)) for n in lengths], context, stride):
        assert 2 <= len(window.ids) <= context + 1 and 1 <= window.n_scored < len(window.ids)
        for id in window.ids[-window.n_scored :]:
            scored[window.owner][id] += 1
    assert scored == [[0] + [1] * (n - 1) for n in lengths]


def test_each_token_after_the_first_window_has_enough_before_it():
    for window in windows([list(range(100))], 20, 5)[1:]:
        assert len(window.ids) - window.n_scored > 20 - 5


def test_a_uniform_model_needs_the_logarithm_of_its_vocabulary(model, tokenizer):
    flat = Transformer(model.config, seed=0)
    torch.nn.init.zeros_(flat.model.embed_tokens.weight)
    score = bits_per_byte(Engine(flat, tokenizer), documents())
    n_tokens, n_bytes = (
        sum(f(t) for t in TEXTS) for f in (lambda t: len(tokenizer.encode(t)), lambda t: len(t.encode()))
    )
    assert score.value == pytest.approx(math.log2(model.config.vocab_size) * n_tokens / n_bytes, rel=1e-6)
    assert score.low <= score.value <= score.high and score.count == len(TEXTS)


def test_more_context_does_not_change_what_fits(model, tokenizer):
    short = documents(["import json\n", "x = 1\n"])
    engine = Engine(model, tokenizer)
    assert bits_per_byte(engine, short, LikelihoodConfig(stride=48)) == bits_per_byte(engine, short)


def test_reading_stops_at_max_bytes(tokenizer):
    held_out = HeldOutText(tokenizer, documents(), 48, LikelihoodConfig(max_bytes=20))
    assert held_out.n_bytes_U.tolist() == [12, len(TEXTS[1])]


def test_nothing_to_measure(tokenizer):
    with pytest.raises(DataError, match="no held-out text"):
        HeldOutText(tokenizer, documents([""]), 48)


@pytest.mark.parametrize("stride", [0, 49])
def test_a_stride_beyond_the_context_would_leave_tokens_out(tokenizer, stride):
    with pytest.raises(ConfigError, match="from 1 to the context of 48"):
        HeldOutText(tokenizer, documents(), 48, LikelihoodConfig(stride=stride))


def test_measuring_needs_no_gradient(model, tokenizer):
    held_out = HeldOutText(tokenizer, documents(), 48)
    before = [p.clone() for p in model.parameters()]
    assert np.isfinite(held_out.evaluate(Engine(model, tokenizer)).loss_mean)
    assert all(p.grad is None and torch.equal(p, b) for p, b in zip(model.parameters(), before))
