import pytest
import torch

from glasshouse.core.errors import ConfigError
from glasshouse.explain import patch
from glasshouse.model import Transformer

CLEAN, CORRUPTED = [2, 9, 6, 4, 9], [2, 9, 8, 4, 9]  # 9 was followed by 6, by 8


def test_a_planted_circuit_is_localised(planted: Transformer) -> None:
    found = patch(planted, CLEAN, CORRUPTED)  # the model itself says 6, and 8
    stream_LT, attn_LT, mlp_LT = (found.effect_LT[site] for site in ("resid_pre", "attn_out", "mlp_out"))
    assert found.clean_lead > 1 and found.corrupted_lead < -1
    torch.testing.assert_close(stream_LT[0], torch.eye(5)[2], rtol=0, atol=0.05)  # only the changed token matters
    torch.testing.assert_close(stream_LT[1], torch.eye(5)[2], rtol=0, atol=0.05)
    torch.testing.assert_close(attn_LT[1], torch.eye(5)[4], rtol=0, atol=0.05)  # carried by the induction head
    assert attn_LT[0].abs().max() < 0.05 and mlp_LT.abs().max() < 0.05


def test_patching_everything_that_differs_returns_the_answer(model: Transformer, ids: list[int]) -> None:
    """Only token 3 differs, so its embedding is the whole difference."""
    corrupted = [*ids[:3], (ids[3] + 1) % 61, *ids[4:]]
    found = patch(model, ids, corrupted, answer=5, other=6)
    assert float(found.effect_LT["resid_pre"][0, 3]) == pytest.approx(1, abs=1e-4)
    assert found.effect_LT["resid_pre"][:, :3].abs().max() < 1e-5  # earlier places are the same in both
    for layer in range(model.config.n_layers - 1):
        assert found.effect_LT["attn_out"][layer, :3].abs().max() < 1e-5


def test_every_pass_is_told_and_may_end_it(model: Transformer, ids: list[int]) -> None:
    told: list[tuple[int, int]] = []
    patch(model, ids, ids[::-1], 1, 2, sites=("mlp_out",), on_pass=lambda *at: told.append(at))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_same_answer_is_compared_with_the_next_likeliest(model: Transformer, ids: list[int]) -> None:
    corrupted = [*ids[:3], (ids[3] + 1) % 61, *ids[4:]]
    first, second = model(torch.tensor([corrupted]))[0, -1].topk(2).indices.tolist()
    assert patch(model, ids, corrupted, answer=first).other == second
    assert patch(model, ids, corrupted, answer=second).other == first


@pytest.mark.parametrize(
    ("clean", "corrupted", "named", "message"),
    [
        ([1, 2, 3], [1, 2], {}, "3 and 2 tokens"),
        ([1, 2], [1, 2], {}, "the same tokens"),
        ([1, 2], [1, 3], {"answer": 4, "other": 4}, "cannot be compared with itself"),
        ([1, 2], [1, 3], {"answer": 99}, "no token 99"),
        ([1] * 49, [2] * 49, {}, "context is 48"),
    ],
)
def test_bad_pairs(
    model: Transformer, clean: list[int], corrupted: list[int], named: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        patch(model, clean, corrupted, **named)
