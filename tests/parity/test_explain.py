"""Lens, attention, attribution and patching equal what transformers' own outputs and hooks give on the same weights;
and, where it is installed, what TransformerLens gives (`pip install transformer-lens`)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from glasshouse.checkpoint import save_checkpoint
from glasshouse.explain import attention_patterns, direct_attribution, gradient_times_input, logit_lens, patch
from glasshouse.model import InitConfig, ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
SHAPE = ModelConfig(
    vocab_size=500, d_model=32, n_layers=3, n_heads=4, n_kv_heads=2, d_head=8, d_ff=48, max_seq_len=32,
    has_qk_norm=False, ties_embeddings=False,
)  # fmt: skip
FAMILIES = {"llama": SHAPE, "qwen3": SHAPE.model_copy(update={"has_qk_norm": True, "ties_embeddings": True})}
TARGET, OTHER = 7, 11


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def ours(family: str) -> Transformer:
    model = Transformer(FAMILIES[family], InitConfig(std=0.2, embedding_std=0.3), seed=4).eval()
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def folder(ours: Transformer, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parity") / "model"
    return save_checkpoint(path, ours, tokenizer, recipe={}, cost=None, provenance={})


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def ids() -> list[int]:
    return torch.randint(0, 500, (9,), generator=torch.Generator().manual_seed(1)).tolist()


@pytest.fixture(scope="module")
def other_ids(ids: list[int]) -> list[int]:
    return [*ids[:3], (ids[3] + 1) % 500, *ids[4:]]


def near(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found.detach(), expected.detach(), rtol=0, atol=TOLERANCE)


@torch.no_grad()
def test_lens_and_attention_against_their_outputs(ours: Transformer, theirs: Any, ids: list[int]) -> None:
    out = theirs(torch.tensor([ids]), output_hidden_states=True, output_attentions=True)
    logp_RPV = logit_lens(ours, ids)
    for row, hidden_BTD in enumerate(out.hidden_states[:-1]):
        near(logp_RPV[row], theirs.lm_head(theirs.model.norm(hidden_BTD))[0].log_softmax(-1))
    near(logp_RPV[-1], out.logits[0].log_softmax(-1))
    near(attention_patterns(ours, ids), torch.stack(out.attentions)[:, 0])


def test_gradients_against_their_autograd(ours: Transformer, theirs: Any, ids: list[int]) -> None:
    embedded = theirs.get_input_embeddings()(torch.tensor([ids])).detach().requires_grad_()
    logp = theirs(inputs_embeds=embedded).logits[0, -1].log_softmax(-1)[TARGET]
    (gradient,) = torch.autograd.grad(logp, embedded)
    near(gradient_times_input(ours, ids, TARGET).share_T, (embedded * gradient).sum(-1)[0])


@torch.no_grad()
def test_patching_against_their_hooks(ours: Transformer, theirs: Any, ids: list[int], other_ids: list[int]) -> None:
    """One hooked run of theirs for each place, layer and position."""
    found = patch(ours, ids, other_ids, TARGET, OTHER)
    sites: dict[str, Callable[[Any], Any]] = {
        "attn_out": lambda layer: layer.self_attn, "mlp_out": lambda layer: layer.mlp,
    }  # fmt: skip
    for site, module_of in sites.items():
        for i, layer in enumerate(theirs.model.layers):
            clean_BTD = kept_output(theirs, module_of(layer), ids)
            for t in range(len(ids)):
                logit_V = with_output(theirs, module_of(layer), other_ids, clean_BTD, t)
                lead = float(logit_V[TARGET] - logit_V[OTHER])
                effect = (lead - found.corrupted_lead) / (found.clean_lead - found.corrupted_lead)
                assert float(found.effect_LT[site][i, t]) == pytest.approx(effect, abs=TOLERANCE)


def kept_output(model: Any, module: Any, ids: list[int]) -> torch.Tensor:
    kept: list[torch.Tensor] = []
    handle = module.register_forward_hook(lambda _, __, out: kept.append(out[0] if isinstance(out, tuple) else out))
    model(torch.tensor([ids]))
    handle.remove()
    return kept[0]


def with_output(model: Any, module: Any, ids: list[int], clean_BTD: torch.Tensor, t: int) -> torch.Tensor:
    def replace(_: Any, __: Any, out: Any) -> Any:
        value = (out[0] if isinstance(out, tuple) else out).clone()
        value[:, t] = clean_BTD[:, t]
        return (value, *out[1:]) if isinstance(out, tuple) else value

    handle = module.register_forward_hook(replace)
    logit_V: torch.Tensor = model(torch.tensor([ids])).logits[0, -1]
    handle.remove()
    return logit_V


@torch.no_grad()
def test_against_transformer_lens(
    family: str, ours: Transformer, theirs: Any, folder: Path, ids: list[int], other_ids: list[int]
) -> None:
    bridges = pytest.importorskip("transformer_lens.model_bridge")
    bridge = bridges.TransformerBridge.boot_transformers(str(folder), hf_model=theirs, device="cpu")
    logits, cache = bridge.run_with_cache(torch.tensor([ids]))
    logp_RPV = logit_lens(ours, ids)
    for i in range(3):
        resid = cache[f"blocks.{i}.hook_resid_pre"]
        near(logp_RPV[i], bridge.unembed(bridge.ln_final(resid))[0].log_softmax(-1))
        near(attention_patterns(ours, ids)[i], cache[f"blocks.{i}.attn.hook_pattern"][0])
    found = direct_attribution(ours, ids, TARGET)
    towards_D = ours.model.norm.weight * ours.head_weight_VD[TARGET] / cache["ln_final.hook_scale"][0, -1]
    for i in range(3):
        o_proj = theirs.model.layers[i].self_attn.o_proj.weight.T.unflatten(0, (4, 8))
        z_NH = cache[f"blocks.{i}.attn.hook_z"][0, -1].reshape(4, 8)
        near(found.head_LN[i], torch.einsum("nh,nhd,d->n", z_NH, o_proj, towards_D))
        near(found.mlp_L[i], cache[f"blocks.{i}.hook_mlp_out"][0, -1] @ towards_D)
    assert found.logit == pytest.approx(float(logits[0, -1, TARGET]), abs=TOLERANCE)
    patched = patch(ours, ids, other_ids, TARGET, OTHER)
    for i in range(3):
        for t in range(len(ids)):

            def replace(value: torch.Tensor, hook: Any, t: int = t) -> torch.Tensor:
                value = value.clone()
                value[:, t] = cache[hook.name][:, t]
                return value

            logit_V = bridge.run_with_hooks(
                torch.tensor([other_ids]), fwd_hooks=[(f"blocks.{i}.hook_resid_pre", replace)]
            )[0, -1]
            lead = float(logit_V[TARGET] - logit_V[OTHER])
            effect = (lead - patched.corrupted_lead) / (patched.clean_lead - patched.corrupted_lead)
            assert float(patched.effect_LT["resid_pre"][i, t]) == pytest.approx(effect, abs=TOLERANCE)
