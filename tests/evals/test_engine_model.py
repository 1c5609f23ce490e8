"""The three methods against the plain forward pass and the tokenizer's own ids."""

import pytest
import torch

from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.records import Message
from glasshouse.evals import EngineModel, TooLong
from glasshouse.infer import Engine, SamplingConfig, chat_ids


@pytest.fixture(scope="module")
def judged(model, tokenizer) -> EngineModel:
    return EngineModel(Engine(model, tokenizer))


def logp_of(model, before: list[int], after: list[int]) -> float:
    with torch.no_grad():
        logp_TV = model(torch.tensor([[*before, *after][:-1]]))[0].log_softmax(-1)
    return float(logp_TV[-len(after) :].gather(1, torch.tensor(after)[:, None]).sum())


@pytest.mark.parametrize(
    ("context", "continuation"),
    [("import", " json"), ("import ", "json"), ("", "def f"), ("  ", "x"), ("a\n", "Größe")],
)
def test_text_is_read_as_one_and_cut_where_the_context_ends(judged, model, tokenizer, context, continuation):
    [score] = judged.likelihoods([(context, continuation)])
    before = tokenizer.encode(context.rstrip())
    after = tokenizer.encode(context + continuation)[len(before) :]
    assert score.logp_sum == pytest.approx(logp_of(model, before or [tokenizer.end_of_text_id], after), abs=1e-4)
    assert score.n_tokens == len(after) and score.n_bytes == len(continuation.encode())


def test_a_chat_is_rendered_by_the_models_template(judged, model, tokenizer):
    chat = (Message("user", "Where is dumps?"),)
    [score] = judged.likelihoods([(chat, "json")])
    assert score.logp_sum == pytest.approx(
        logp_of(model, chat_ids(tokenizer, chat), tokenizer.encode("json")), abs=1e-4
    )
    [text] = judged.generate([chat], SamplingConfig(max_tokens=5))
    [said] = judged.engine.generate([chat_ids(tokenizer, chat)], SamplingConfig(max_tokens=5))
    assert text == said.text


def test_greedy_is_what_the_model_would_say(judged, tokenizer):
    said = judged.engine.generate([judged.prompt_ids("import")], SamplingConfig(max_tokens=1))[0].ids[0]
    pairs = [("import", tokenizer.decode([i])) for i in sorted(tokenizer.ids) if i not in tokenizer.end_ids]
    known = [(pair, ids) for pair in pairs if len(ids := tokenizer.encode("".join(pair))) == 2]
    greedy = [s.is_greedy for s in judged.likelihoods([pair for pair, _ in known])]
    assert greedy == [ids[1] == said for _, ids in known]


def test_a_rolling_likelihood_scores_every_token_once(judged, model, tokenizer):
    texts = ["import json", "x = 1\n" * 40, ""]
    short, long, empty = judged.rolling_likelihoods(texts)
    assert short.logp_sum == pytest.approx(
        logp_of(model, [tokenizer.end_of_text_id], tokenizer.encode(texts[0])), abs=1e-4
    )
    assert long.n_tokens == len(tokenizer.encode(texts[1])) > judged.engine.max_seq_len
    assert (empty.n_tokens, empty.logp_sum) == (0, 0.0)


def test_too_long_is_said_before_any_work_and_names_them_all(judged):
    with pytest.raises(TooLong, match="2 of 3 prompts are longer than the model's context of 48 tokens") as error:
        judged.likelihoods([("x", "y"), ("word " * 60, "y"), ("word " * 50, "y")])
    assert error.value.indices == (1, 2) and min(error.value.n_tokens) > 48
    with pytest.raises(ConfigError, match="1 of 1 prompts"):
        judged.generate(["word " * 60], SamplingConfig())


def test_an_empty_continuation_cannot_be_scored(judged):
    with pytest.raises(DataError, match=r"continuation 0 .* has no tokens"):
        judged.likelihoods([("import", "")])


def test_nothing_asked(judged):
    assert judged.likelihoods([]) == judged.rolling_likelihoods([]) == judged.generate([], SamplingConfig()) == []
