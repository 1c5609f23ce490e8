"""Prompts read for their own sake: beside requests that generate, in pieces, and after being sent back."""

import asyncio

import pytest
import torch

from glasshouse.core.errors import ConfigError
from glasshouse.infer import BackgroundEngine, Engine, SamplingConfig
from glasshouse.infer.native import NativeRunner, why_unavailable
from glasshouse.infer.reading import PromptScores, PromptVector
from glasshouse.infer.runner import TorchRunner

TEXT = "import os\nclass A(B):\n    pass\n" * 2


@pytest.fixture(scope="module")
def ids(tokenizer):
    return tokenizer.encode(TEXT)[:60]


@pytest.fixture(params=["torch", "native"])
def any_engine(request, model, tokenizer):
    if request.param == "torch":
        return Engine(model, tokenizer)
    if why_unavailable():
        pytest.skip(str(why_unavailable()))
    return Engine(model, tokenizer, runner=NativeRunner.of_model(model, n_blocks=32))


def test_scores_are_the_models_own(any_engine, model, ids, tokenizer):
    with torch.no_grad():
        logp_TV = model(torch.tensor([ids]))[0, :-1, : tokenizer.vocab_size].log_softmax(1)
    scores = any_engine.score(ids, 3)
    expected = logp_TV.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()
    assert [logp for logp, _ in scores] == pytest.approx(expected, abs=1e-4)
    assert [top[0][0] for _, top in scores] == logp_TV.argmax(1).tolist() and {len(top) for _, top in scores} == {3}
    assert any_engine.score(ids[:1]) == [] and any_engine.stats().n_used_blocks == 0


def test_vectors_are_the_mean_of_what_the_head_reads(any_engine, model, ids):
    with torch.no_grad():
        expected = torch.nn.functional.normalize(model.hidden(torch.tensor([ids]))[0].mean(0), dim=0)
    together = any_engine.embed([ids, ids[:5], ids[7:9]])
    torch.testing.assert_close(together[0], expected, atol=1e-5, rtol=0)
    assert torch.equal(together[1], any_engine.embed([ids[:5]])[0])
    assert any_engine.embed([]).shape == (0, model.config.d_model)


def test_neither_depends_on_neighbours_nor_they_on_it(model, tokenizer, ids, prompts):
    """In pieces of a small step, among others' answers, with memory for few: the same bits."""
    greedy = SamplingConfig(max_tokens=12, ignores_end=True)
    plain = Engine(model, tokenizer)
    expected = plain.score(ids), plain.embed([ids])[0], [c.ids for c in plain.generate(prompts, greedy)]
    engine = Engine(model, tokenizer, runner=TorchRunner(model, n_blocks=8), max_running=6, max_step_tokens=7)
    scores, vector = PromptScores(tokenizer.vocab_size, 0), PromptVector()
    sequences = [engine.add(prompt, greedy) for prompt in prompts]
    readings = [engine.prepare_reading(ids, reading) for reading in (scores, vector)]
    for sequence in readings:
        engine.submit(sequence)
    while engine.has_work:
        engine.step()
    assert (scores.scores, [tuple(s.ids) for s in sequences]) == (expected[0], expected[2])
    assert torch.equal(vector.vector(), expected[1])
    assert engine.stats().n_preemptions > 0 and engine.stats().n_used_blocks == 0
    assert {s.finish_reason for s in readings} == {"stop"}


def test_a_prompt_that_was_answered_before_is_still_scored_whole(model, tokenizer, ids):
    engine = Engine(model, tokenizer)
    expected = engine.score(ids)
    engine.generate([ids], SamplingConfig(max_tokens=1))
    assert engine.score(ids) == expected and len(expected) == len(ids) - 1


def test_in_the_background(model, tokenizer, ids):
    background = BackgroundEngine(Engine(model, tokenizer))
    background.start()

    async def run():
        reading = asyncio.gather(*(background.read(ids, PromptScores(tokenizer.vocab_size, 0)) for _ in range(3)))
        left = asyncio.create_task(background.read(ids, PromptVector()))
        await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(ConfigError, match="no tokens"):
            await background.read([], PromptVector())
        return await reading, await background.call(lambda engine: engine.stats())

    readings, stats = asyncio.run(run())
    background.stop()
    assert all(reading.scores == Engine(model, tokenizer).score(ids) for reading in readings)
    assert (stats.n_running, stats.n_waiting, stats.n_used_blocks) == (0, 0, 0)
