import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from glasshouse.core.errors import CheckpointError, ConfigError
from glasshouse.infer import Engine, SamplingConfig
from glasshouse.model import Transformer

SETTINGS = {
    "greedy": SamplingConfig(max_tokens=24),
    "sampled": SamplingConfig(max_tokens=24, temperature=1.0, seed=3),
    "everything": SamplingConfig(
        max_tokens=24, temperature=0.9, top_k=50, top_p=0.95, min_p=0.01, repetition_penalty=1.2, seed=4,
        stop=("e", "in", "\n"),
    ),
}  # fmt: skip


@pytest.fixture(params=SETTINGS)
def sampling(request) -> SamplingConfig:
    return SETTINGS[request.param]


@pytest.fixture(scope="module")
def their_model(model):
    theirs = Qwen3ForCausalLM(Qwen3Config.from_dict(model.config.to_hf())).eval()
    missing, unexpected = theirs.load_state_dict(model.state_dict(), strict=False)
    theirs.tie_weights()
    assert missing in ([], ["lm_head.weight"]) and unexpected == []
    return theirs


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_equals_transformers(engine, their_model, prompts, penalty):
    ours = engine.generate(prompts, SamplingConfig(max_tokens=16, repetition_penalty=penalty))
    for prompt, completion in zip(prompts, ours):
        ids = torch.tensor([prompt])
        theirs = their_model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False, repetition_penalty=penalty,
            eos_token_id=list(engine.end_ids), pad_token_id=0,
        )  # fmt: skip
        assert completion.ids == tuple(theirs[0, len(prompt) :].tolist())


def test_logps_are_the_models_own(engine, their_model, prompts):
    [completion] = engine.generate(prompts[3:4], SamplingConfig(max_tokens=10, temperature=1.5, top_k=20, seed=0))
    ids = torch.tensor([[*prompts[3], *completion.ids]])
    with torch.no_grad():
        logp = their_model(ids).logits.log_softmax(-1)[0, len(prompts[3]) - 1 : -1]
    expected = logp.gather(1, torch.tensor(completion.ids)[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(completion.logps), expected, atol=1e-4, rtol=1e-4)


def test_a_batch_equals_one_by_one(engine, prompts, sampling):
    together = engine.generate(prompts, sampling)
    assert len({c.ids for c in together}) > 3  # else this test would see nothing
    for prompt, completion in zip(prompts, together):
        [alone] = engine.generate([prompt], sampling)
        assert (alone.ids, alone.text, alone.finish_reason) == (
            completion.ids,
            completion.text,
            completion.finish_reason,
        )
        assert alone.logps == pytest.approx(completion.logps, abs=1e-4)


def test_however_the_batches_are_cut(model, tokenizer, prompts, sampling):
    expected = [c.ids for c in Engine(model, tokenizer).generate(prompts, sampling)]
    for bounds in ({"max_running": 3}, {"max_step_tokens": 3, "max_running": 3}, {"max_running": 1}):
        assert [c.ids for c in Engine(model, tokenizer, **bounds).generate(prompts, sampling)] == expected


def test_streamed_equals_unstreamed(engine, prompts, sampling):
    for prompt, completion in zip(prompts, engine.generate(prompts, sampling)):
        deltas = list(engine.stream(prompt, sampling))
        assert "".join(d.text for d in deltas) == completion.text
        assert tuple(d.id for d in deltas) == completion.ids
        assert [d.finish_reason for d in deltas] == [None] * (len(deltas) - 1) + [completion.finish_reason]


def test_each_request_may_have_its_own_settings(engine, prompts):
    own = [SamplingConfig(max_tokens=n + 1, temperature=n % 2, seed=n) for n in range(len(prompts))]
    for prompt, config, completion in zip(prompts, own, engine.generate(prompts, own)):
        assert completion == pytest.approx(completion)
        assert [completion.ids] == [c.ids for c in engine.generate([prompt], config)]


def test_seeds(engine, prompts):
    def ids(seed: int | None) -> tuple[int, ...]:
        return engine.generate(prompts[:1], SamplingConfig(temperature=1, max_tokens=12, seed=seed))[0].ids

    assert ids(1) == ids(1) != ids(2)
    assert len({ids(None) for _ in range(4)}) > 1


def test_a_stop_string_spanning_tokens_ends_the_text_before_it(engine, prompts):
    greedy = SamplingConfig(max_tokens=24)
    [free] = engine.generate(prompts[1:2], greedy)
    tokens = [engine.tokenizer.decode([i]) for i in free.ids]
    # The end of one token with the start of the next.
    at = next(i for i in range(4, 20) if tokens[i] and tokens[i + 1] and "\ufffd" not in tokens[i] + tokens[i + 1])
    stop = tokens[at][-1] + tokens[at + 1][0]
    [stopped] = engine.generate(prompts[1:2], greedy.model_copy(update={"stop": (stop,)}))
    assert stopped.finish_reason == "stop" and stopped.text == free.text[: free.text.index(stop)]
    assert stopped.ids == free.ids[: len(stopped.ids)] and len(stopped.ids) < len(free.ids)


def test_finish_reasons(engine, model, tokenizer, prompts):
    [cut] = engine.generate(prompts[:1], SamplingConfig(max_tokens=5))
    assert (cut.finish_reason, len(cut.ids), len(cut.logps)) == ("length", 5, 5)
    ending = Engine(model, tokenizer)
    ending.end_ids = (cut.ids[2],)
    [ended] = ending.generate(prompts[:1], SamplingConfig(max_tokens=5))
    n = cut.ids.index(cut.ids[2]) + 1
    assert ended.finish_reason == "stop" and ended.ids == cut.ids[:n]
    assert ended.text == tokenizer.decode(cut.ids[: n - 1])  # the token that ends is counted but not spoken


def test_a_model_that_ends_its_turn_stops(engine):
    assert set(engine.end_ids) == {
        engine.tokenizer.special_ids[t] for t in ("<|endoftext|>", "<|im_end|>", "<|im_start|>")
    }


def test_the_context_is_filled_to_its_last_token(engine, model, their_model):
    prompt = list(range(10, 10 + 60))
    [completion] = engine.generate([prompt], SamplingConfig(max_tokens=99, repetition_penalty=3.0))
    assert len(completion.ids) == model.config.max_seq_len - 60 + 1 and completion.finish_reason == "length"
    [full] = engine.generate([list(range(10, 74))], SamplingConfig(max_tokens=99))
    assert len(full.ids) == 1


@pytest.mark.parametrize(
    ("prompt", "message"),
    [([], "no tokens"), ([5] * 65, "65 tokens.*context is 64"), ([10_000], "vocabulary"), ([-1], "vocabulary")],
)
def test_wrong_prompts_are_refused(engine, prompt, message):
    with pytest.raises(ConfigError, match=message):
        engine.generate([[1], prompt], SamplingConfig())
    with pytest.raises(ConfigError, match=message):
        engine.stream(prompt, SamplingConfig())


def test_as_many_settings_as_prompts(engine, prompts):
    with pytest.raises(ConfigError, match="8 prompts need as many"):
        engine.generate(prompts, [SamplingConfig()])


def test_no_prompts_give_no_completions(engine):
    assert engine.generate([], SamplingConfig()) == []


def test_weights_that_are_not_numbers_are_reported(model, tokenizer, prompts):
    broken = Transformer(model.config, seed=0)
    with torch.no_grad():
        broken.model.norm.weight.fill_(torch.nan)
    with pytest.raises(CheckpointError, match="not a number"):
        Engine(broken, tokenizer).generate(prompts, SamplingConfig())


def test_ids_beyond_the_tokenizer_are_never_chosen(model, tokenizer, prompts):
    padded = Transformer(model.config.model_copy(update={"vocab_size": 4 * tokenizer.vocab_size}), seed=5)
    completions = Engine(padded, tokenizer).generate(prompts, SamplingConfig(temperature=50, seed=0, max_tokens=20))
    assert max(max(c.ids) for c in completions) < tokenizer.vocab_size


def test_a_tokenizer_larger_than_the_model_is_refused(model, tokenizer):
    small = Transformer(model.config.model_copy(update={"vocab_size": 100}), seed=5)
    with pytest.raises(ConfigError, match="do not belong together"):
        Engine(small, tokenizer)


def test_progress_counts_finished_prompts(model, tokenizer, prompts):
    seen: list[int] = []
    Engine(model, tokenizer, max_running=3).generate(prompts, SamplingConfig(max_tokens=2), on_finished=seen.append)
    assert seen == [3, 6, 8]


def test_generating_leaves_the_model_trainable(engine, model, prompts):
    engine.generate(prompts, SamplingConfig(max_tokens=2))
    model(torch.tensor([[1, 2, 3]])).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()


def test_an_empty_prompt_starts_where_documents_start(engine):
    assert engine.prompt_ids("") == [engine.tokenizer.end_of_text_id]
    assert engine.prompt_ids("def") == engine.tokenizer.encode("def")
