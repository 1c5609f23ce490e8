import pytest
import torch

from glasshouse.model import ModelConfig, Transformer
from glasshouse.optim import OptimConfig, describe_groups, group_parameters


def model_of(ties=True):
    return Transformer(
        ModelConfig(
            vocab_size=40, d_model=16, n_layers=2, n_heads=2, n_kv_heads=1, d_head=8, d_ff=24, max_seq_len=8,
            ties_embeddings=ties,
        )
    )  # fmt: skip


@pytest.mark.parametrize("ties", [True, False])
def test_every_parameter_is_in_exactly_one_group(ties):
    model = model_of(ties)
    groups = group_parameters(model, OptimConfig())
    names = [name for g in groups for name, _ in g.parameters]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert [g.name for g in groups] == ["matrices", "embedding", *([] if ties else ["head"]), "vectors"]
    by_name = {g.name: g for g in groups}
    assert all(p.ndim == 2 for _, p in by_name["matrices"].parameters)
    assert len(by_name["matrices"].parameters) == 2 * 7
    assert [n for n, _ in by_name["embedding"].parameters] == ["model.embed_tokens.weight"]
    if not ties:
        assert [n for n, _ in by_name["head"].parameters] == ["lm_head.weight"]
    assert all("norm" in n for n, _ in by_name["vectors"].parameters)


def test_rates_and_decay_follow_the_config():
    config = OptimConfig(matrix_lr=1, embedding_lr=2, head_lr=3, vector_lr=4, weight_decay=0.5, matrices="adamw")
    groups = {g.name: g for g in group_parameters(model_of(False), config)}
    assert {n: g.lr for n, g in groups.items()} == {"matrices": 1, "embedding": 2, "head": 3, "vectors": 4}
    assert {n: g.weight_decay for n, g in groups.items()} == {
        "matrices": 0.5,
        "embedding": 0.5,
        "head": 0.5,
        "vectors": 0,
    }
    assert {g.rule for g in groups.values()} == {"adamw"}
    assert group_parameters(model_of(), OptimConfig())[0].rule == "muon"


def test_frozen_parameters_are_left_alone():
    model = model_of()
    model.model.embed_tokens.weight.requires_grad_(False)
    assert "embedding" not in {g.name for g in group_parameters(model, OptimConfig())}


def test_groups_can_be_read():
    groups = group_parameters(model_of(), OptimConfig())
    lines = describe_groups(groups)
    assert len(lines) == len(groups) == 3
    assert "matrices" in lines[0] and "muon" in lines[0] and "0.02" in lines[0] and "14 tensors" in lines[0]
    assert sum(g.to_json()["n_parameters"] for g in groups) == sum(p.numel() for p in model_of().parameters())
    assert isinstance(groups[0].parameters[0][1], torch.nn.Parameter)
