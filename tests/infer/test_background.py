import asyncio
from contextlib import aclosing

import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.infer import BackgroundEngine, Engine, EngineStopped, QueueFull, SamplingConfig

GREEDY = SamplingConfig(max_tokens=12)


async def ids(background, prompt, sampling=GREEDY):
    return tuple([delta.id async for delta in background.stream(prompt, sampling)])


@pytest.fixture
def background(model, tokenizer):
    background = BackgroundEngine(Engine(model, tokenizer))
    background.start()
    yield background
    background.stop(drains=False)


def test_many_streams_give_what_generate_gives(background, engine, prompts):
    async def run():
        return await asyncio.gather(*(ids(background, p) for p in prompts))

    assert asyncio.run(run()) == [c.ids for c in engine.generate(prompts, GREEDY)]
    assert background.engine.stats().n_used_blocks == 0


def test_closing_the_iterator_cancels(background, prompts):
    async def run():
        async with aclosing(background.stream(prompts[0], SamplingConfig(max_tokens=60, ignores_end=True))) as stream:
            await anext(stream)
        return await background.call(lambda engine: engine.stats())

    stats = asyncio.run(run())
    assert (stats.n_running, stats.n_waiting, stats.n_used_blocks) == (0, 0, 0)


def test_wrong_requests_raise_at_once(background):
    async def run():
        await ids(background, [])

    with pytest.raises(ConfigError, match="no tokens"):
        asyncio.run(run())


def test_a_full_queue_says_so(model, tokenizer, prompts):
    background = BackgroundEngine(Engine(model, tokenizer, max_running=1), max_waiting=2)
    background.start()

    async def run():
        results = await asyncio.gather(*(ids(background, p) for p in prompts * 4), return_exceptions=True)
        return [type(r) for r in results]

    kinds = asyncio.run(run())
    background.stop()
    assert QueueFull in kinds and tuple in kinds and set(kinds) == {QueueFull, tuple}


def test_an_error_in_the_loop_reaches_every_request(background, prompts, monkeypatch):
    def breaks(batch):
        raise RuntimeError("out of paper")

    async def run():
        return await asyncio.gather(*(ids(background, p) for p in prompts), return_exceptions=True)

    with monkeypatch.context() as patch:
        patch.setattr(background.engine._runner, "run", breaks)
        assert all(isinstance(r, RuntimeError) for r in asyncio.run(run()))
    assert background.engine.stats().n_used_blocks == 0
    assert all(isinstance(r, tuple) for r in asyncio.run(run()))  # and it goes on


@pytest.mark.parametrize("drains", [True, False])
def test_stopping(model, tokenizer, prompts, drains):
    background = BackgroundEngine(Engine(model, tokenizer))
    background.start()

    async def run():
        tasks = [asyncio.create_task(ids(background, p, SamplingConfig(max_tokens=40))) for p in prompts]
        await asyncio.sleep(0)
        await background.call(lambda engine: None)
        await asyncio.to_thread(background.stop, drains)
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(run())
    if drains:
        assert all(isinstance(r, tuple) for r in results)
    else:
        assert any(isinstance(r, EngineStopped) for r in results)
    with pytest.raises(EngineStopped):
        asyncio.run(ids(background, prompts[0]))
