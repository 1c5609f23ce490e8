"""Scores of tails against the plain forward pass, whatever they share and however little memory there is."""

import random

import pytest
import torch

from glasshouse.core.errors import ConfigError
from glasshouse.infer import Engine, Tail
from glasshouse.infer.native import NativeRunner, why_unavailable
from glasshouse.infer.runner import TorchRunner
from glasshouse.model import ModelConfig

from ..conftest import varied_model

CONFIG = ModelConfig(
    vocab_size=500, d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, d_head=16, d_ff=48, max_seq_len=96
)


@pytest.fixture(scope="module")
def model():
    return varied_model(CONFIG)


def by_definition(model, tail: Tail) -> tuple[float, bool]:
    with torch.no_grad():
        logp_TV = model(torch.tensor([tail.ids[:-1]]))[0].double().log_softmax(-1)[-tail.n_scored :]
    ids = torch.tensor(tail.ids[-tail.n_scored :])
    return float(logp_TV.gather(1, ids[:, None]).sum()), bool((logp_TV.argmax(1) == ids).all())


def tails(model, seed: int = 0) -> list[Tail]:
    """Questions with answers after common examples, repeated ones, prefixes of each other, whole texts, greedy ones."""
    draw = random.Random(seed)

    def text(n: int) -> tuple[int, ...]:
        return tuple(draw.randrange(CONFIG.vocab_size) for _ in range(n))

    result = []
    for n_examples in (0, 16, 21):
        examples = text(n_examples)
        for n_question in (1, 5, 16, 33):
            question = text(n_question)
            for n_answer in (1, 1, 4, 17):
                result.append(Tail((*examples, *question, *text(n_answer)), n_answer))
            result.append(Tail((*examples, *question), n_examples + n_question - 1) if n_question > 1 else result[-1])
            result.append(result[-2])
    for n in (2, 50, 97):
        result.append(Tail(text(n), n - 1))
    with torch.no_grad():
        start = text(6)
        for _ in range(4):
            start = (*start, int(model(torch.tensor([start]))[0, -1].argmax()))
    result += [Tail(start, 4), Tail((*start, start[0]), 5)]
    draw.shuffle(result)
    return result


RUNNERS = {
    "torch": lambda model, n: TorchRunner(model, n),
    "native": lambda model, n: NativeRunner.of_model(model, n_blocks=n),
}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("n_blocks", [6, 7, 12, 400])
def test_equals_the_definition(model, tokenizer, runner, n_blocks):
    if runner == "native" and (why := why_unavailable()):
        pytest.skip(why)
    engine = Engine(model, tokenizer, runner=RUNNERS[runner](model, n_blocks))
    asked = tails(model)
    scores = engine.score_tails(asked)
    for tail, score in zip(asked, scores):
        logp, is_greedy = by_definition(model, tail)
        assert score.logp_sum == pytest.approx(logp, abs=1e-4) and score.is_greedy == is_greedy
    assert any(score.is_greedy for score in scores)
    assert engine.stats().n_used_blocks == 0


def test_what_is_shared_is_read_once(model, tokenizer):
    class Counting(TorchRunner):
        n_tokens = n_logits = 0

        def run(self, batch):
            self.n_tokens += len(batch.ids_T)
            self.n_logits += len(batch.logit_rows)
            return super().run(batch)

    runner = Counting(model, 400)
    question = tuple(range(40, 77))
    Engine(model, tokenizer, runner=runner).score_tails([Tail((*question, a, a), 2) for a in range(4)])
    assert runner.n_tokens == len(question) + 1 + 3 * 2  # of each other answer: the last of the question, its first
    assert runner.n_logits == 8


def test_an_engine_that_is_answering_goes_on_undisturbed(model, tokenizer):
    from glasshouse.infer import SamplingConfig

    engine = Engine(model, tokenizer)
    [alone] = engine.generate([[5, 6, 7]], SamplingConfig(max_tokens=8, ignores_end=True))
    sequence = engine.add([5, 6, 7], SamplingConfig(max_tokens=8, ignores_end=True))
    while sequence.finish_reason is None:
        engine.step()
        engine.score_tails(tails(model)[:3])
    assert sequence.completion().ids == alone.ids


def test_nothing_asked(model, tokenizer):
    assert Engine(model, tokenizer).score_tails([]) == []


@pytest.mark.parametrize("n_scored", [0, 3, -1])
def test_the_first_token_cannot_be_scored(model, tokenizer, n_scored):
    with pytest.raises(ConfigError, match="text 0: of 3 tokens all but the first can be scored"):
        Engine(model, tokenizer).score_tails([Tail((1, 2, 3), n_scored)])


def test_too_long_a_text(model, tokenizer):
    with pytest.raises(ConfigError, match="text 1: it has 97 tokens"):
        Engine(model, tokenizer).score_tails([Tail((1, 2), 1), Tail((1,) * 98, 1)])


def test_ids_outside_the_vocabulary(model, tokenizer):
    with pytest.raises(ConfigError, match="outside the model's vocabulary"):
        Engine(model, tokenizer).score_tails([Tail((1, 500), 1)])


def test_memory_for_less_than_one_text(model, tokenizer):
    engine = Engine(model, tokenizer, runner=TorchRunner(model, 2))
    with pytest.raises(ConfigError, match="more than the 32 places"):
        engine.score_tails([Tail(tuple(range(40)), 1)])
    assert engine.stats().n_used_blocks == 0
