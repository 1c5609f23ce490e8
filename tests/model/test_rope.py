"""Turning by angles: lengths stay, dot products depend on distance alone."""

import torch

from glasshouse.model import ModelConfig
from glasshouse.model.rope import Rotary, frequencies, rotate


def published_form(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


def test_the_rolled_form_is_the_published_one(config: ModelConfig) -> None:
    x_BTNH = torch.randn(2, 9, 3, config.d_head)
    cos, signed_sin = Rotary(config)(0, 9, None, torch.float32)
    sin = signed_sin.abs() * torch.cat((signed_sin[..., config.d_head // 2 :],) * 2, -1).sign()
    torch.testing.assert_close(rotate(x_BTNH, cos, signed_sin), published_form(x_BTNH, cos, sin))


def test_dot_products_depend_on_distance(config: ModelConfig) -> None:
    q, k, rotary = torch.randn(config.d_head), torch.randn(config.d_head), Rotary(config)
    at = lambda x, p: rotate(x[None, None], *rotary(p, 1, None, torch.float32))[0, 0]  # noqa: E731
    torch.testing.assert_close(at(q, 7) @ at(k, 3), at(q, 44) @ at(k, 40))
    assert (at(q, 7) @ at(k, 3) - at(q, 7) @ at(k, 4)).abs() > 1e-3
    torch.testing.assert_close(at(q, 50).norm(), q.norm())


def test_positions_pick_table_rows(config: ModelConfig) -> None:
    rotary = Rotary(config)
    cos, _ = rotary(5, 3, None, torch.float32)
    picked, _ = rotary(0, 3, torch.tensor([[5, 6, 7], [0, 0, 1]]), torch.float32)
    assert torch.equal(cos, picked[0]) and picked.shape == (2, 3, 1, config.d_head)


def test_the_first_frequency_turns_one_radian_a_token(config: ModelConfig) -> None:
    assert frequencies(config)[0] == 1.0
    assert frequencies(config).shape == (config.d_head // 2,)
