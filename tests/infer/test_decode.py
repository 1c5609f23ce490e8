import pytest
import torch

from glasshouse.infer import SamplingConfig
from glasshouse.infer.decode import BatchDecoder, Request, batches, bytes_per_row, common_prefix, prefill


def request(n_prompt: int, limit: int = 4) -> Request:
    return Request(tuple(range(3, 3 + n_prompt)), SamplingConfig(max_tokens=limit), limit)


def test_common_prefix_leaves_one_token_of_each():
    assert common_prefix([(1, 2, 3), (1, 2, 4), (1, 2, 3, 5)]) == 2
    assert common_prefix([(1, 2), (1, 2)]) == 1
    assert common_prefix([(1,), (1, 2)]) == 0


def test_prefill_equals_each_prompt_alone(model, prompts):
    shared = [(1, 7, 8, *p) for p in prompts]
    _, hidden_BD = prefill(model, shared, 64)
    for prompt, hidden_D in zip(shared, hidden_BD):
        with torch.no_grad():
            alone_D = model.hidden(torch.tensor([prompt]))[0, -1]
        torch.testing.assert_close(hidden_D, alone_D, atol=1e-4, rtol=1e-4)


def test_ended_rows_leave_the_cache(model, tokenizer):
    requests = [request(5 + n, limit=1 if n else 30) for n in range(8)]
    decoder = BatchDecoder(model, requests, (), tokenizer.vocab_size)
    while decoder.is_live:
        decoder.step()
    assert decoder._cache.n_rows == 1
    assert decoder.n_tokens_B.tolist() == [30] + [1] * 7


def test_batches_are_of_like_length_and_lose_nothing(model):
    lengths = [3, 40, 5, 41, 4, 39, 6]
    groups = batches([request(n) for n in lengths], model.config, 3, 2**30)
    assert [[lengths[i] for i in group] for group in groups] == [[41, 40, 39], [6, 5, 4], [3]]


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_batches_stay_within_memory(model, rows):
    requests = [request(20) for _ in range(10)]
    budget = rows * bytes_per_row(model.config, 20, requests[0].n_slots)
    assert {len(g) for g in batches(requests, model.config, 256, budget)} == {rows}
    assert {len(g) for g in batches(requests, model.config, 256, 1)} == {1}
