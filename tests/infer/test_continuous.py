"""Requests that join, leave, share and yield: none of it changes a token, and no block is ever lost."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glasshouse.core.errors import ConfigError
from glasshouse.infer import Engine, SamplingConfig
from glasshouse.infer.memory import step_bytes, weight_bytes
from glasshouse.infer.runner import TorchRunner

GREEDY = SamplingConfig(max_tokens=14)
SAMPLED = SamplingConfig(max_tokens=14, temperature=0.8, top_p=0.95, seed=3, presence_penalty=0.3)


def finish(engine, sequences):
    while any(s.finish_reason is None for s in sequences):
        engine.step()
    return [tuple(s.ids) for s in sequences]


def small(model, tokenizer, n_blocks, **options):
    return Engine(model, tokenizer, runner=TorchRunner(model, n_blocks), **options)


@pytest.fixture(scope="module")
def alone(model, tokenizer, prompts):
    return [Engine(model, tokenizer).generate([p], GREEDY)[0].ids for p in prompts]


def test_paged_equals_the_whole_computed_anew_each_time(model, tokenizer, prompts, alone):
    for prompt, ids in zip(prompts, alone):
        text = list(prompt)
        for id in ids:
            with torch.no_grad():
                assert int(model(torch.tensor([text]))[0, -1, : tokenizer.vocab_size].argmax()) == id
            text.append(id)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
def test_joining_late_changes_nothing(model, tokenizer, prompts, sampling):
    expected = [Engine(model, tokenizer).generate([p], sampling)[0] for p in prompts]
    engine = Engine(model, tokenizer)
    sequences = []
    for prompt in prompts:
        sequences.append(engine.add(prompt, sampling))
        engine.step()
    finish(engine, sequences)
    completions = [s.completion() for s in sequences]
    assert [(c.ids, c.logps) for c in completions] == [(c.ids, c.logps) for c in expected]  # to the last bit


@pytest.mark.parametrize("max_step_tokens", [1, 5, 16])
def test_chunked_prompts_equal_whole_ones(model, tokenizer, prompts, alone, max_step_tokens):
    engine = Engine(model, tokenizer, max_running=1, max_step_tokens=max_step_tokens)
    assert [c.ids for c in engine.generate(prompts, GREEDY)] == alone
    assert engine.stats().n_steps > sum(map(len, alone)) or max_step_tokens > 1


def test_a_common_beginning_is_computed_once(model, tokenizer):
    beginning = list(range(20, 56))
    texts = [[*beginning, n] for n in range(6)]
    expected = [Engine(model, tokenizer).generate([t], GREEDY)[0] for t in texts]
    engine = Engine(model, tokenizer)
    together = engine.generate(texts, GREEDY)  # arriving in one step
    later = engine.generate(texts, GREEDY)
    for a, b, c in zip(expected, together, later):
        assert (a.ids, a.logps) == (b.ids, b.logps) == (c.ids, c.logps)
    assert [c.n_cached_tokens for c in together] == [0] + [32] * 5
    assert [c.n_cached_tokens for c in later] == [32] * 6
    assert engine.stats().n_cached_tokens == 11 * 32


def test_an_answer_is_found_again_by_the_next_turn(model, tokenizer, prompts):
    engine = Engine(model, tokenizer)
    [first] = engine.generate([list(range(20, 40))], SamplingConfig(max_tokens=30, ignores_end=True))
    [second] = engine.generate([[*range(20, 40), *first.ids, 3]], GREEDY)
    assert second.n_cached_tokens == 48
    assert second.ids == Engine(model, tokenizer).generate([[*range(20, 40), *first.ids, 3]], GREEDY)[0].ids


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
def test_sent_back_for_memory_changes_nothing(model, tokenizer, prompts, sampling):
    sampling = sampling.model_copy(update={"ignores_end": True, "max_tokens": 30})
    expected = [c.ids for c in Engine(model, tokenizer).generate(prompts, sampling)]
    engine = small(model, tokenizer, n_blocks=6)
    assert [c.ids for c in engine.generate(prompts, sampling)] == expected
    assert engine.stats().n_preemptions > 0 and engine.stats().n_used_blocks == 0


def test_cancelled_neighbours_do_not_matter(model, tokenizer, prompts, alone):
    engine = Engine(model, tokenizer)
    kept = [engine.add(p, GREEDY) for p in prompts]
    gone = [engine.add(p, SAMPLED) for p in prompts]
    for sequence in gone:
        engine.step()
        engine.cancel(sequence)
        assert not sequence.blocks
    assert finish(engine, kept) == alone
    assert engine.stats().n_used_blocks == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["add", "cancel", "step"]), st.integers(0, 7)), max_size=30))
def test_no_block_is_lost(model, tokenizer, prompts, alone, actions):
    engine = small(model, tokenizer, n_blocks=5, max_running=4, max_step_tokens=24)
    sequences = []
    for action, n in actions:
        if action == "add":
            sequences.append((n, engine.add(prompts[n], GREEDY)))
        elif action == "cancel" and sequences:
            engine.cancel(sequences[n % len(sequences)][1])
        else:
            engine.step()
        held = [b for _, s in sequences for b in s.blocks]
        assert engine.stats().n_used_blocks == len(set(held)) <= 5
    finish(engine, [s for _, s in sequences])
    assert engine.stats().n_used_blocks == 0 and engine.step() == []
    for n, sequence in sequences:
        if sequence.finish_reason != "cancelled":
            assert tuple(sequence.ids) == alone[n]


def test_two_streams_may_be_read_in_turn(engine, prompts, alone):
    pairs = list(zip(engine.stream(prompts[3], GREEDY), engine.stream(prompts[5], GREEDY)))
    n = min(len(alone[3]), len(alone[5]))
    assert [(a.id, b.id) for a, b in pairs] == list(zip(alone[3], alone[5]))[:n]
    assert engine.stats().n_used_blocks == 0


def test_a_memory_budget_is_obeyed(model, tokenizer):
    fixed = weight_bytes(model) + step_bytes(model.config, 64, 4)
    engine = Engine(model, tokenizer, memory_bytes=fixed + 100_000, max_running=4, max_step_tokens=64)
    cache = engine._runner._cache
    assert 40_000 < sum(t.nbytes for t in (*cache.keys, *cache.values)) <= 100_000
    with pytest.raises(ConfigError, match=r"too small.*at least"):
        Engine(model, tokenizer, memory_bytes=fixed, max_running=4, max_step_tokens=64)
    with pytest.raises(ConfigError, match=r"more than the 32 places"):
        small(model, tokenizer, n_blocks=2).add([1] * 30, GREEDY)


def test_what_a_request_asks_for_beside_tokens(engine, prompts):
    [c] = engine.generate(prompts[:1], SamplingConfig(max_tokens=6, n_logprobs=3))
    assert [len(a) for a in c.alternatives] == [3] * len(c.ids)
    assert [a[0] for a in c.alternatives] == [(i, p) for i, p in zip(c.ids, c.logps)]
    assert engine.next_token(prompts[0], 3) == list(c.alternatives[0])
    banned = {i: -100.0 for i, _ in c.alternatives[0]}
    [other] = engine.generate(prompts[:1], SamplingConfig(max_tokens=1, logit_bias=banned))
    assert other.ids[0] not in banned
    [stopped] = engine.generate(prompts[:1], SamplingConfig(max_tokens=6, stop_ids=(c.ids[2],)))
    assert stopped.finish_reason == "stop" and stopped.ids == c.ids[: c.ids.index(c.ids[2]) + 1]


def test_frequency_penalty_ends_repetition(engine, prompts):
    def most(penalty):
        sampling = SamplingConfig(max_tokens=40, ignores_end=True, frequency_penalty=penalty)
        [c] = engine.generate(prompts[:1], sampling)
        return max(map(c.ids.count, c.ids))

    assert most(2.0) < most(0.0)


class Letters:
    """A grammar: `ids` in this order, then the end."""

    def __init__(self, ids, vocab_size):
        self.ids, self.vocab_size, self.is_finished = list(ids), vocab_size, False

    def state(self):
        return Letters(self.ids, self.vocab_size)

    def mask(self):
        if self.ids[0] < 0:
            raise ConfigError("the grammar cannot go on")
        return torch.arange(self.vocab_size) == self.ids[0]

    def accept(self, id):
        assert id == self.ids.pop(0)
        self.is_finished = not self.ids


def test_grammars(engine, tokenizer, prompts):
    form = Letters([70, 71, 72], tokenizer.vocab_size)
    sampling = [GREEDY, GREEDY, SamplingConfig(max_tokens=2)]
    whole, free, cut = engine.generate(prompts[:3], sampling, grammars=[form, None, form])
    assert (whole.ids, whole.finish_reason) == ((70, 71, 72), "stop")
    assert (cut.ids, cut.finish_reason) == ((70, 71), "length")
    assert free.ids == engine.generate(prompts[1:2], GREEDY)[0].ids


def test_a_grammar_that_is_stuck_fails_alone(engine, tokenizer, prompts, alone):
    stuck = engine.add(prompts[0], GREEDY, grammar=Letters([70, -1], tokenizer.vocab_size))
    other = engine.add(prompts[1], GREEDY)
    assert finish(engine, [other, stuck])[0] == alone[1]
    assert stuck.finish_reason == "cancelled" and "cannot go on" in str(stuck.error)
    with pytest.raises(ConfigError, match="cannot go on"):
        list(engine.stream(prompts[0], GREEDY, grammar=Letters([70, -1], tokenizer.vocab_size)))


def test_embeddings_have_unit_length_and_no_neighbours(engine, prompts):
    together = engine.embed(prompts)
    assert torch.allclose(together.norm(dim=1), torch.ones(len(prompts)))
    assert torch.equal(together[3:4], engine.embed(prompts[3:4]))
