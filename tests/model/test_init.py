"""The same seed gives the same weights, whatever else the model holds; spreads are as configured."""

import torch

from glasshouse.model import InitConfig, ModelConfig, Transformer


def weights(config: ModelConfig, seed: int = 0, **init: object) -> dict[str, torch.Tensor]:
    return dict(Transformer(config, InitConfig(**init), seed=seed).named_parameters())


def test_seeds_name_weights(config: ModelConfig) -> None:
    a, b, c = weights(config), weights(config), weights(config, seed=1)
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert not any(torch.equal(a[n], c[n]) for n in a if not n.endswith("norm.weight"))
    matrices = [v for n, v in a.items() if n.endswith(("gate_proj.weight", "up_proj.weight"))]
    assert not any(torch.equal(x, y) for i, x in enumerate(matrices) for y in matrices[:i])


def test_other_layers_and_global_randomness_change_nothing(config: ModelConfig) -> None:
    deep = config.model_copy(update={"n_layers": 5})
    state = torch.get_rng_state()
    a = weights(config)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    b = weights(deep)
    assert all(torch.equal(a[n], b[n]) for n in a)


def test_spreads_are_as_configured() -> None:
    wide = ModelConfig(
        vocab_size=256, d_model=128, n_layers=2, n_heads=4, n_kv_heads=4, d_head=32, d_ff=512, max_seq_len=8
    )
    spread = {n: float(v.detach().std()) for n, v in weights(wide, matrix="fan_in", embedding_std=0.5).items()}
    close = lambda a, b: abs(a - b) < 0.03 * b  # noqa: E731
    assert close(spread["model.layers.0.self_attn.q_proj.weight"], 128**-0.5)
    assert close(spread["model.layers.0.mlp.down_proj.weight"], 512**-0.5)
    assert close(spread["model.embed_tokens.weight"], 0.5)
    normal = {n: float(v.detach().std()) for n, v in weights(wide, std=0.05, has_scaled_outputs=True).items()}
    assert close(normal["model.layers.1.mlp.up_proj.weight"], 0.05)
    assert close(normal["model.layers.1.mlp.down_proj.weight"], 0.05 / 2)  # 1 / sqrt(2 * 2 layers)


def test_zero_outputs_make_every_block_the_identity(config: ModelConfig) -> None:
    model = Transformer(config, InitConfig(has_zero_outputs=True))
    ids_BT = torch.arange(6)[None]
    with torch.no_grad():
        expected = model.model.norm(model.model.embed_tokens(ids_BT))
        assert torch.equal(model.hidden(ids_BT), expected)
    model(ids_BT).square().sum().backward()
    assert model.model.layers[0].mlp.down_proj.weight.grad.abs().max() > 0
