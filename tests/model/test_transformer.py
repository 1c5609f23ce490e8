"""Masks, positions and the cache all give what plain attention over the same text gives."""

import pytest
import torch
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.model import InitConfig, ModelConfig, Transformer

ATOL = 1e-5


def random_ids(model: Transformer, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, model.config.vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def same(a: Tensor, b: Tensor, atol: float = ATOL) -> None:
    assert a.std() > 0.1  # or the comparison would say nothing
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def test_names_are_the_published_ones(model: Transformer, config: ModelConfig) -> None:
    names = set(model.state_dict())
    assert {"model.embed_tokens.weight", "model.norm.weight", "model.layers.0.self_attn.q_proj.weight"} <= names
    assert ("lm_head.weight" in names) is not config.ties_embeddings
    assert ("model.layers.2.self_attn.q_norm.weight" in names) is config.has_qk_norm
    assert len(names) == 2 + 3 * (9 + 2 * config.has_qk_norm) + (not config.ties_embeddings)


def test_logits_are_the_head_applied_to_the_hidden_state(model: Transformer) -> None:
    ids_BT = random_ids(model, 2, 9)
    assert model.head_weight_VD.shape == (model.config.vocab_size, model.config.d_model)
    same(model(ids_BT), model.hidden(ids_BT) @ model.head_weight_VD.T)


def test_the_future_changes_nothing(model: Transformer) -> None:
    ids_BT = random_ids(model, 2, 20)
    changed_BT = ids_BT.clone()
    changed_BT[:, 12:] = (changed_BT[:, 12:] + 1) % model.config.vocab_size
    before, after = model(ids_BT), model(changed_BT)
    same(before[:, :12], after[:, :12])
    assert (before[:, 12:] - after[:, 12:]).abs().max() > 0.1


def test_each_document_s_logits_are_those_it_has_alone(model: Transformer) -> None:
    lengths = ((5, 11, 8), (16, 1, 7))
    ids_BT = random_ids(model, 2, 24)
    document_BT = torch.stack([torch.cat([torch.full((n,), i) for i, n in enumerate(row)]) for row in lengths])
    packed_BTV = model(ids_BT, document_BT=document_BT)
    for row, parts in enumerate(lengths):
        start = 0
        for n in parts:
            same(packed_BTV[row, start : start + n], model(ids_BT[row : row + 1, start : start + n])[0])
            start += n
    assert (packed_BTV - model(ids_BT)).abs().max() > 0.1  # without the mask they differ


def test_no_gradient_crosses_documents(model: Transformer) -> None:
    taken: list[Tensor] = []
    model.model.embed_tokens.register_forward_hook(lambda *a: taken.append(a[2]) or a[2].retain_grad())
    document_BT = torch.tensor([[3, 3, 3, 9, 9, 9]])
    model(random_ids(model, 1, 6), document_BT=document_BT)[0, 3:].sum().backward()
    grad = taken[0].grad
    assert grad is not None and grad[0, :3].abs().max() == 0 and grad[0, 3:].abs().min(-1).values.max() > 0


def test_positions_shift_nothing_but_distances_do(model: Transformer) -> None:
    """RoPE is relative."""
    ids_BT = random_ids(model, 1, 10)
    same(model(ids_BT), model(ids_BT, position_BT=torch.arange(10)[None] + 30), atol=1e-4)
    assert (model(ids_BT) - model(ids_BT, position_BT=2 * torch.arange(10)[None])).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("chunks", [(20,), (1,) * 20, (7, 1, 1, 11), (19, 1)])
def test_cached_equals_uncached(model: Transformer, chunks: tuple[int, ...]) -> None:
    ids_BT = random_ids(model, 3, 20)
    cache = model.new_cache(3, 4)
    parts = [model(ids, cache=cache) for ids in ids_BT.split(chunks, dim=1)]
    same(torch.cat(parts, 1), model(ids_BT))
    assert cache.n_filled == 20


@torch.no_grad()
def test_rows_of_different_lengths_go_on_together(model: Transformer) -> None:
    """Right-padded prompts, then one token a row a step, each row at its own position."""
    lengths = torch.tensor([4, 11, 7])
    full_BT = random_ids(model, 3, 24)
    prompt_BT = torch.where(torch.arange(11) < lengths[:, None], full_BT[:, :11], 0)
    cache = model.new_cache(3)
    logits_BTV = model(prompt_BT, cache=cache)
    alone = [model(full_BT[row : row + 1]) for row in range(3)]
    for row, n in enumerate(lengths):
        same(logits_BTV[row, :n], alone[row][0, :n])
    for step in range(10):
        position_B1 = (lengths + step)[:, None]
        logits_B1V = model(full_BT.gather(1, position_B1), position_BT=position_B1, cache=cache)
        for row in range(3):
            same(logits_B1V[row, 0], alone[row][0, int(position_B1[row])])


@torch.no_grad()
def test_finished_rows_are_dropped_and_others_go_on(model: Transformer) -> None:
    ids_BT = random_ids(model, 4, 15)
    cache = model.new_cache(4)
    model(ids_BT[:, :9], cache=cache)
    cache.select([3, 1])
    same(model(ids_BT[[3, 1], 9:], cache=cache), model(ids_BT[[3, 1]])[:, 9:])
    cache.select(torch.tensor([0, 0]))  # one row, branched
    branched = model(ids_BT[[0, 2], :1], cache=cache)
    same(branched[0], model(torch.cat((ids_BT[3:4], ids_BT[:1, :1]), 1))[0, -1:])


def test_gradients_flow_to_every_weight(model: Transformer) -> None:
    model(random_ids(model, 2, 9)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_too_long_is_refused(model: Transformer) -> None:
    n = model.config.max_seq_len
    with pytest.raises(ConfigError, match=f"{n + 1} .*at most {n}"):
        model(random_ids(model, 1, n + 1))
    cache = model.new_cache(1)
    model(random_ids(model, 1, n), cache=cache)
    with pytest.raises(ConfigError, match="at most"):
        model(random_ids(model, 1, 1), cache=cache)


def test_documents_and_cache_exclude_each_other(model: Transformer) -> None:
    with pytest.raises(ConfigError, match="cannot be used together"):
        model(random_ids(model, 1, 4), document_BT=torch.zeros(1, 4), cache=model.new_cache(1))


@pytest.mark.parametrize("has_documents", [False, True])
def test_compiles_as_one_graph(model: Transformer, has_documents: bool) -> None:
    document_BT = torch.arange(16).div(5, rounding_mode="floor")[None].expand(2, -1) if has_documents else None
    compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=False)
    ids_BT = random_ids(model, 2, 16)
    same(compiled(ids_BT, document_BT=document_BT), model(ids_BT, document_BT=document_BT))


def test_bfloat16_stays_close_and_keeps_its_position_tables(model: Transformer) -> None:
    ids_BT = random_ids(model, 2, 30)
    expected = model(ids_BT)
    half = model.to(torch.bfloat16)
    assert half.rotary.cos_TH.dtype == torch.float32 and half.dtype == torch.bfloat16
    got = half(ids_BT)
    assert got.dtype == torch.bfloat16
    assert (got.float() - expected).abs().mean() < 0.05 * expected.abs().mean()


def test_building_without_memory_keeps_the_tables(config: ModelConfig) -> None:
    with torch.device("meta"):
        model = Transformer(config, seed=None)
    assert model.model.embed_tokens.weight.is_meta
    model.to_empty(device="cpu")
    model.init_weights(0, InitConfig())
    ids_BT = random_ids(model, 1, 12)
    assert torch.equal(model(ids_BT), Transformer(config)(ids_BT))
