"""Taps show what the model computes, change it where asked, and leave it alone otherwise."""

import pytest
import torch

from glasshouse.core.errors import ConfigError
from glasshouse.model import Taps, Transformer, tap_names


@pytest.fixture
def ids_BT(model: Transformer) -> torch.Tensor:
    return torch.randint(0, model.config.vocab_size, (2, 7), generator=torch.Generator().manual_seed(1))


def test_every_tap_has_the_shape_it_names(model: Transformer, ids_BT: torch.Tensor) -> None:
    c, taps = model.config, Taps(["*"])
    model(ids_BT, taps=taps)
    assert list(taps.values) and set(taps.values) == set(tap_names(c))
    B, T = ids_BT.shape
    shapes = {
        "resid_pre": (B, T, c.d_model), "q": (B, T, c.n_heads, c.d_head), "k": (B, T, c.n_kv_heads, c.d_head),
        "v": (B, T, c.n_kv_heads, c.d_head), "attn_weights": (B, c.n_heads, T, T),
        "head_out": (B, T, c.n_heads, c.d_head), "attn_out": (B, T, c.d_model), "resid_mid": (B, T, c.d_model),
        "mlp_act": (B, T, c.d_ff), "mlp_out": (B, T, c.d_model), "resid_post": (B, T, c.d_model),
    }  # fmt: skip
    for name, shape in shapes.items():
        assert taps.values[f"layers.1.{name}"].shape == shape, name


def test_looking_changes_nothing(model: Transformer, ids_BT: torch.Tensor) -> None:
    document_BT = torch.tensor([[0, 0, 0, 1, 1, 1, 1]] * 2)
    for documents in (None, document_BT):
        plain = model(ids_BT, document_BT=documents)
        torch.testing.assert_close(model(ids_BT, document_BT=documents, taps=Taps(["*"])), plain, rtol=0, atol=1e-5)


def test_the_values_add_up(model: Transformer, ids_BT: torch.Tensor) -> None:
    taps = Taps(["*"])
    logits_BTV = model(ids_BT, taps=taps)
    v = taps.values
    pattern_BNTT = v["layers.2.attn_weights"]
    torch.testing.assert_close(pattern_BNTT.sum(-1), torch.ones(pattern_BNTT.shape[:-1]))
    assert pattern_BNTT.triu(1).abs().max() == 0
    assert torch.equal(v["layers.0.resid_pre"], v["embed"])
    assert torch.equal(v["layers.1.resid_pre"], v["layers.0.resid_post"])
    torch.testing.assert_close(v["layers.1.resid_mid"], v["layers.1.resid_pre"] + v["layers.1.attn_out"])
    torch.testing.assert_close(v["layers.1.resid_post"], v["layers.1.resid_mid"] + v["layers.1.mlp_out"])
    n_group = model.config.n_heads // model.config.n_kv_heads
    heads_BTNH = (pattern_BNTT @ v["layers.2.v"].repeat_interleave(n_group, 2).transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(heads_BTNH, v["layers.2.head_out"])
    torch.testing.assert_close(logits_BTV, v["final_norm"] @ model.head_weight_VD.T)


def test_an_edit_reaches_the_logits(model: Transformer, ids_BT: torch.Tensor) -> None:
    without_head = Taps(edits={"layers.1.head_out": lambda x: x * torch.tensor([0.0, 1, 1, 1])[:, None]})
    assert (model(ids_BT, taps=without_head) - model(ids_BT)).abs().max() > 1e-3
    model.kernels = "torch"  # taps are places in the torch modules; the compiled decoder's last bits are others
    unchanged = Taps(edits={"layers.1.head_out": lambda x: x})
    assert torch.equal(model(ids_BT, taps=unchanged), model(ids_BT))


def test_only_what_is_asked_is_kept_and_only_of_the_last_pass(model: Transformer, ids_BT: torch.Tensor) -> None:
    taps = Taps(["layers.*.mlp_act", "embed"])
    model(ids_BT, taps=taps)
    model(ids_BT[:, :3], taps=taps)
    assert set(taps.values) == {"embed", *(f"layers.{i}.mlp_act" for i in range(3))}
    assert taps.values["embed"].shape[1] == 3


def test_taps_work_with_a_cache(model: Transformer, ids_BT: torch.Tensor) -> None:
    taps, cache = Taps(["layers.0.attn_weights"]), model.new_cache(2)
    model(ids_BT[:, :6], cache=cache)
    model(ids_BT[:, 6:], cache=cache, taps=taps)
    pattern_BN1S = taps.values["layers.0.attn_weights"]
    whole = Taps(["layers.0.attn_weights"])
    model(ids_BT, taps=whole)
    torch.testing.assert_close(pattern_BN1S[:, :, 0], whole.values["layers.0.attn_weights"][:, :, -1])


def test_an_unknown_name_is_refused_with_the_nearest(model: Transformer, ids_BT: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match=r'attn_weight.*Did you mean "layers\.0\.attn_weights"'):
        model(ids_BT, taps=Taps(["layers.0.attn_weight"]))
    with pytest.raises(ConfigError, match="no tap"):
        model(ids_BT, taps=Taps(["layers.7.q"]))
