from typing import Any

import pytest
import torch

from glasshouse.infer import Engine, SamplingConfig

from .conftest import MODEL, Running

TEXTS = ["def", "import os\n", "日本 is", "x" * 300]


def direct_logps(engine: Engine, ids: list[int]) -> list[float]:
    """Of each token but the first, from the model's own logits."""
    with torch.inference_mode():
        logits_TV = engine.model(torch.tensor([ids]))[0, :-1, : engine.tokenizer.vocab_size]
    logp_TV = logits_TV.log_softmax(dim=1)
    return [float(logp_TV[t, id]) for t, id in enumerate(ids[1:])]


def test_a_prompt_in_each_of_four_forms(server: Running, engine: Engine) -> None:
    ids = [engine.tokenizer.encode(text) for text in TEXTS]

    def texts(prompt: Any) -> list[str]:
        answer = server.client.completions.create(model=MODEL, prompt=prompt, max_tokens=7, temperature=0)
        assert [choice.index for choice in answer.choices] == list(range(len(answer.choices)))
        return [choice.text for choice in answer.choices]

    expected = [c.text for c in engine.generate(ids, SamplingConfig(max_tokens=7))]
    assert texts(TEXTS) == texts(ids) == expected
    assert texts(TEXTS[1]) == texts(ids[1]) == expected[1:2]


def test_several_answers_to_several_prompts_stay_in_order(server: Running) -> None:
    def texts(prompt: Any, n: int) -> list[str]:
        answer = server.client.completions.create(model=MODEL, prompt=prompt, max_tokens=5, seed=2, n=n)
        return [choice.text for choice in answer.choices]

    assert texts(TEXTS[:2], 3) == [*texts(TEXTS[0], 3), *texts(TEXTS[1], 3)]


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_echo_with_logprobs_is_the_models_own_likelihood(server: Running, engine: Engine, max_tokens: int) -> None:
    prompts = [engine.tokenizer.encode(text) for text in TEXTS]
    answer = server.client.completions.create(
        model=MODEL, prompt=prompts, max_tokens=max_tokens, temperature=0, logprobs=2, echo=True
    )
    for ids, text, choice in zip(prompts, TEXTS, answer.choices):
        logprobs = choice.logprobs
        assert logprobs is not None and logprobs.token_logprobs is not None and logprobs.top_logprobs is not None
        assert choice.text.startswith(text) and choice.finish_reason == "length"
        assert len(logprobs.tokens or ()) == len(ids) + max_tokens == len(logprobs.text_offset or ())
        assert logprobs.token_logprobs[0] is None
        assert logprobs.token_logprobs[1 : len(ids)] == pytest.approx(direct_logps(engine, ids), abs=1e-4)
        for logp, top in zip(logprobs.token_logprobs[1:], logprobs.top_logprobs[1:]):
            assert logp in top.values() and len(top) in (2, 3)


@pytest.mark.parametrize("options", [{"echo": True}, {"echo": True, "logprobs": 1}, {"logprobs": 0, "n": 2}], ids=str)
def test_streamed_is_unstreamed(server: Running, options: dict[str, Any]) -> None:
    request: Any = {"model": MODEL, "prompt": TEXTS[:2], "max_tokens": 6, "seed": 1, **options}
    whole = server.client.completions.create(**request)
    parts: dict[int, Any] = {c.index: {"text": "", "tokens": [], "logps": [], "offsets": []} for c in whole.choices}
    for chunk in server.client.completions.create(**request, stream=True):
        for choice in chunk.choices:
            own = parts[choice.index]
            own["text"] += choice.text
            own["finish_reason"] = choice.finish_reason
            if choice.logprobs:
                own["tokens"] += choice.logprobs.tokens
                own["logps"] += choice.logprobs.token_logprobs
                own["offsets"] += choice.logprobs.text_offset
    for choice in whole.choices:
        own = parts[choice.index]
        assert (choice.text, choice.finish_reason) == (own["text"], own["finish_reason"])
        if choice.logprobs:
            assert choice.logprobs.tokens == own["tokens"] and choice.logprobs.text_offset == own["offsets"]
            assert choice.logprobs.token_logprobs == own["logps"]


def test_an_empty_prompt_starts_where_documents_start(server: Running, engine: Engine) -> None:
    answer = server.client.completions.create(model=MODEL, prompt="", max_tokens=5, temperature=0)
    [expected] = engine.generate([engine.prompt_ids("")], SamplingConfig(max_tokens=5))
    assert answer.choices[0].text == expected.text


def test_a_prompt_that_fills_the_context(server: Running, engine: Engine) -> None:
    ids = [engine.tokenizer.encode("x")[0]] * engine.max_seq_len
    answer = server.client.completions.create(model=MODEL, prompt=ids, max_tokens=5, logprobs=1, echo=True)
    assert answer.usage is not None and answer.usage.completion_tokens == 1  # there is no room for a second


def test_where_to_end(server: Running, engine: Engine) -> None:
    def tokens(**extra: Any) -> list[str]:
        answer = server.client.completions.create(
            model=MODEL, prompt="def", max_tokens=6, temperature=0, logprobs=0, extra_body=extra
        )
        return answer.choices[0].logprobs.tokens  # type: ignore[union-attr, return-value]

    end = {str(engine.tokenizer.end_of_text_id): 100}
    assert tokens(logit_bias=end) == [] and len(tokens(logit_bias=end, ignore_eos=True)) == 6
    [wanted] = engine.tokenizer.encode("x")
    assert tokens(logit_bias={str(wanted): 100}, stop_token_ids=[wanted]) == ["x"]


def test_logit_bias_and_penalties_reach_the_engine(server: Running, engine: Engine) -> None:
    [wanted] = engine.tokenizer.encode("x")
    answer = server.client.completions.create(
        model=MODEL, prompt="def", max_tokens=4, temperature=0, logit_bias={str(wanted): 100}
    )
    assert answer.choices[0].text == "xxxx"
    answer = server.client.completions.create(
        model=MODEL, prompt="def", max_tokens=6, temperature=0, frequency_penalty=2, presence_penalty=2, logprobs=0
    )
    tokens = answer.choices[0].logprobs.tokens  # type: ignore[union-attr]
    plain = server.client.completions.create(model=MODEL, prompt="def", max_tokens=6, temperature=0, logprobs=0)
    assert tokens != plain.choices[0].logprobs.tokens, "the plain answer repeats itself"  # type: ignore[union-attr]
