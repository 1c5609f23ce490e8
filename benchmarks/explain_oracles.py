"""Lens, attention, attribution, patching against oracles on the same weights; what taps cost when there are none.

    python benchmarks/explain_oracles.py            about half a minute

The oracle is TransformerLens where it is installed (`pip install transformer-lens`), else transformers with hooks; the
figures say which.  Gradients are held against central differences in float64.  The weights are random and large, norms
too, of Llama's shape, so that every part shows.
Cost of no taps: the model's own forward pass against the same computation written out without a word about taps, in
turns, in seconds of the processor (one thread); the figure is the median ratio of pairs.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from record import Figure
from torch import Tensor

from glasshouse.checkpoint import save_checkpoint
from glasshouse.core.environment import start_torch
from glasshouse.explain import (
    attention_patterns,
    direct_attribution,
    gradient_times_input,
    integrated_gradients,
    logit_lens,
    patch,
)
from glasshouse.model import InitConfig, ModelConfig, Taps, Transformer
from glasshouse.model.attention import attend
from glasshouse.model.rope import rotate
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer

TOLERANCE, MAX_RATIO = 1e-4, 1.02
SHAPE = ModelConfig(
    vocab_size=320, d_model=64, n_layers=4, n_heads=4, n_kv_heads=2, d_head=16, d_ff=128, max_seq_len=64,
    has_qk_norm=False, ties_embeddings=False,
)  # fmt: skip
TIMED = ModelConfig(
    vocab_size=4096, d_model=256, n_layers=4, n_heads=4, n_kv_heads=2, d_head=64, d_ff=768, max_seq_len=256
)  # about the quickstart's model
TARGET, OTHER, N_TOKENS = 7, 11, 12


def figures() -> list[Figure]:
    """Everything, for whoever gathers results."""
    start_torch()
    return [*oracle_figures(), *gradient_figures(), *tap_figures()]


def random_model(config: ModelConfig) -> Transformer:
    model = Transformer(config, InitConfig(std=0.2, embedding_std=0.3), seed=4).eval()
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def prompts() -> tuple[list[int], list[int]]:
    ids = torch.randint(0, 300, (N_TOKENS,), generator=torch.Generator().manual_seed(1)).tolist()
    return ids, [*ids[:4], (ids[4] + 1) % 300, *ids[5:]]


# ---- against another library -----------------------------------------------------------------------------------------


@torch.no_grad()
def oracle_figures() -> list[Figure]:
    from transformers import AutoModelForCausalLM

    ours, (ids, other_ids) = random_model(SHAPE), prompts()
    with tempfile.TemporaryDirectory() as place:
        tokenizer = train_tokenizer(["glass house " * 20], TokenizerConfig(vocab_size=290))
        folder = save_checkpoint(Path(place) / "model", ours, tokenizer, recipe={}, cost=None, provenance={})
        theirs = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
        oracle = open_oracle(folder, theirs)
        clean = oracle.run(ids)
        lens_RPV, pattern_LNTS = logit_lens(ours, ids), attention_patterns(ours, ids)
        found, patched = direct_attribution(ours, ids, TARGET), patch(ours, ids, other_ids, TARGET, OTHER)
        lens = max(worst(lens_RPV[i], oracle.read_out(clean["resid_pre"][i]).log_softmax(-1)) for i in range(4))
        attention = max(worst(pattern_LNTS[i], clean["pattern"][i]) for i in range(4))
        towards_D = ours.model.norm.weight * ours.head_weight_VD[TARGET] / oracle.scale(clean)
        heads = max(worst(found.head_LN[i], clean["head_out"][i][-1] @ towards_D) for i in range(4))
        mlps = max(worst(found.mlp_L[i], clean["mlp_out"][i][-1] @ towards_D) for i in range(4))
        effects = max(
            abs(oracle.effect(site, i, t, ids, other_ids) - float(patched.effect_LT[site][i, t]))
            for site in patched.effect_LT for i in range(4) for t in range(N_TOKENS)
        )  # fmt: skip
    of = f"largest difference to {oracle.name}"
    return [
        close(f"lens, all layers and positions: {of}", lens, "nats"),
        close(f"attention patterns: {of}", attention, ""),
        close(f"direct logit attribution by head and MLP: {of}", max(heads, mlps), "logits"),
        close("direct logit attribution: sum of the parts against the logit", abs(found.total - found.logit), "logits"),
        close(f"patching, layer x position at three places: {of}", effects, "of the effect"),
    ]


class LensOracle:
    """TransformerLens around the same weights."""

    name = "TransformerLens"
    hooks = {"resid_pre": "hook_resid_pre", "attn_out": "hook_attn_out", "mlp_out": "hook_mlp_out"}

    def __init__(self, bridge: Any, theirs: Any) -> None:
        self.bridge, self.theirs = bridge, theirs

    def run(self, ids: list[int]) -> dict[str, Any]:
        logits, self.cache = self.bridge.run_with_cache(torch.tensor([ids]))
        by_layer = lambda name: [self.cache[f"blocks.{i}.{name}"][0] for i in range(SHAPE.n_layers)]  # noqa: E731
        o_proj = [
            layer.self_attn.o_proj.weight.T.unflatten(0, (SHAPE.n_heads, -1)) for layer in self.theirs.model.layers
        ]
        heads = [z.reshape(len(ids), SHAPE.n_heads, -1) for z in by_layer("attn.hook_z")]
        return {
            "resid_pre": by_layer("hook_resid_pre"), "pattern": by_layer("attn.hook_pattern"),
            "mlp_out": by_layer("hook_mlp_out"), "logits": logits[0],
            "head_out": [torch.einsum("tnh,nhd->tnd", z, o) for z, o in zip(heads, o_proj)],
        }  # fmt: skip

    def read_out(self, resid_TD: Tensor) -> Tensor:
        return self.bridge.unembed(self.bridge.ln_final(resid_TD[None]))[0]

    def scale(self, clean: dict[str, Any]) -> Tensor:
        return self.cache["ln_final.hook_scale"][0, -1]

    def lead(self, ids: list[int], hooks: list[Any]) -> float:
        logit_V = self.bridge.run_with_hooks(torch.tensor([ids]), fwd_hooks=hooks)[0, -1]
        return float(logit_V[TARGET] - logit_V[OTHER])

    def effect(self, site: str, layer: int, t: int, ids: list[int], other_ids: list[int]) -> float:
        def replace(value: Tensor, hook: Any) -> Tensor:
            value = value.clone()
            value[:, t] = self.cache[hook.name][:, t]
            return value

        clean, corrupted = self.lead(ids, []), self.lead(other_ids, [])
        patched = self.lead(other_ids, [(f"blocks.{layer}.{self.hooks[site]}", replace)])
        return (patched - corrupted) / (clean - corrupted)


class HookOracle:
    """transformers, whose modules are looked at and changed by hooks."""

    name = "transformers"

    def __init__(self, theirs: Any) -> None:
        self.theirs = theirs

    def run(self, ids: list[int]) -> dict[str, Any]:
        kept: dict[Any, Tensor] = {}
        layers = list(self.theirs.model.layers)
        handles = [self._keep(module, kept) for layer in layers for module in (layer.self_attn, layer.mlp)]
        handles += [layer.self_attn.o_proj.register_forward_pre_hook(self._keeper(kept)) for layer in layers]
        handles += [self.theirs.model.norm.register_forward_pre_hook(self._keeper(kept))]
        out = self.theirs(torch.tensor([ids]), output_hidden_states=True, output_attentions=True)
        for handle in handles:
            handle.remove()
        self.kept, self.hidden = kept, out.hidden_states
        heads = [kept[layer.self_attn.o_proj][0].unflatten(-1, (SHAPE.n_heads, -1)) for layer in layers]
        o_proj = [layer.self_attn.o_proj.weight.T.unflatten(0, (SHAPE.n_heads, -1)) for layer in layers]
        return {
            "resid_pre": [h[0] for h in out.hidden_states[:-1]], "pattern": [a[0] for a in out.attentions],
            "mlp_out": [kept[layer.mlp][0] for layer in layers], "logits": out.logits[0],
            "head_out": [torch.einsum("tnh,nhd->tnd", z, o) for z, o in zip(heads, o_proj)],
        }  # fmt: skip

    def read_out(self, resid_TD: Tensor) -> Tensor:
        return self.theirs.lm_head(self.theirs.model.norm(resid_TD))

    def scale(self, clean: dict[str, Any]) -> Tensor:
        x_D = self.kept[self.theirs.model.norm][0, -1]
        return (x_D.pow(2).mean() + SHAPE.norm_eps).sqrt()

    def lead(self, ids: list[int]) -> float:
        logit_V = self.theirs(torch.tensor([ids])).logits[0, -1]
        return float(logit_V[TARGET] - logit_V[OTHER])

    def effect(self, site: str, layer: int, t: int, ids: list[int], other_ids: list[int]) -> float:
        clean, corrupted = self.lead(ids), self.lead(other_ids)
        block = self.theirs.model.layers[layer]
        if site == "resid_pre":
            handle = block.register_forward_pre_hook(
                lambda _, args: (self._mixed(args[0], self.hidden[layer], t), *args[1:])
            )
        else:
            module = block.self_attn if site == "attn_out" else block.mlp
            handle = module.register_forward_hook(lambda _, __, out: self._mixed(out, self.kept[module], t))
        patched = self.lead(other_ids)
        handle.remove()
        return (patched - corrupted) / (clean - corrupted)

    @staticmethod
    def _mixed(out: Any, clean_BTD: Tensor, t: int) -> Any:
        value = (out[0] if isinstance(out, tuple) else out).clone()
        value[:, t] = clean_BTD[:, t]
        return (value, *out[1:]) if isinstance(out, tuple) else value

    @staticmethod
    def _keep(module: Any, kept: dict[Any, Tensor]) -> Any:
        def hook(module: Any, _: Any, out: Any) -> None:
            kept[module] = out[0] if isinstance(out, tuple) else out

        return module.register_forward_hook(hook)

    @staticmethod
    def _keeper(kept: dict[Any, Tensor]) -> Callable[[Any, Any], None]:
        def hook(module: Any, args: Any) -> None:
            kept[module] = args[0]

        return hook


def open_oracle(folder: Path, theirs: Any) -> LensOracle | HookOracle:
    try:
        from transformer_lens.model_bridge import TransformerBridge
    except ImportError:
        return HookOracle(theirs)
    return LensOracle(TransformerBridge.boot_transformers(str(folder), hf_model=theirs, device="cpu"), theirs)


# ---- gradients -------------------------------------------------------------------------------------------------------


def gradient_figures() -> list[Figure]:
    model, (ids, _) = random_model(SHAPE).double(), prompts()
    embedded_BTD = model.model.embed_tokens(torch.tensor([ids])).detach()
    share_T, step = gradient_times_input(model, ids, TARGET).share_T, 1e-5
    differences = []
    for t in range(N_TOKENS):
        change = torch.zeros(1, N_TOKENS, 1, dtype=torch.float64)
        change[0, t] = step
        up, down = (logp(model, ids, embedded_BTD * (1 + sign * change)) for sign in (1, -1))
        differences.append(abs((up - down) / (2 * step) - float(share_T[t])))
    whole = integrated_gradients(model, ids, TARGET, tolerance=TOLERANCE)
    return [
        close("gradient x input: largest difference to central differences", max(differences), "nats"),
        close(f"integrated gradients: gap to completeness, {whole.n_points} points", abs(whole.gap or 0.0), "nats"),
    ]


@torch.no_grad()
def logp(model: Transformer, ids: list[int], embedded_BTD: Tensor) -> float:
    taps = Taps(edits={"embed": lambda _: embedded_BTD})
    return float(model(torch.tensor([ids]), taps=taps)[0, -1].log_softmax(-1)[TARGET])


# ---- taps ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def tap_figures(n_pairs: int = 60) -> list[Figure]:
    torch.set_num_threads(1)
    model = Transformer(TIMED, seed=1).eval()
    ids_BT = torch.randint(0, TIMED.vocab_size, (2, 128), generator=torch.Generator().manual_seed(2))
    if worst(model(ids_BT), without_taps(model, ids_BT)) > 1e-5:
        raise SystemExit("the pass without taps computes something else")
    ways: dict[str, Callable[[], Any]] = {
        "plain": lambda: without_taps(model, ids_BT),
        "off": lambda: model(ids_BT),
        "all": lambda: model(ids_BT, taps=Taps(["layers.*.resid_post"])),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(n_pairs + 3):
        for name in list(ways)[:: 1 if number % 2 else -1]:  # in turns, and in both orders
            started = time.process_time()
            ways[name]()
            if number >= 3:
                seconds[name].append(time.process_time() - started)
    off, every = (statistics.median(a / b for a, b in zip(seconds[name], seconds["plain"])) for name in ("off", "all"))
    return [
        Figure("taps that nobody asked for: processor time against a pass written without them", round(off, 3), "x",
               f"<= {MAX_RATIO}", off <= MAX_RATIO),
        Figure("the residual stream read at every layer: time against the same", round(every, 3), "x"),
    ]  # fmt: skip


def without_taps(model: Any, ids_BT: Tensor) -> Tensor:
    """The forward pass as it would be without the feature, from the same modules and kernels."""
    x_BTD = model.model.embed_tokens(ids_BT)
    rope = model.rotary(0, ids_BT.shape[1], None, model.dtype)
    for block in model.model.layers:
        a, y_BTD = block.self_attn, block.input_layernorm(x_BTD)
        q, k, v = (p(y_BTD).unflatten(-1, (-1, a.d_head)) for p in (a.q_proj, a.k_proj, a.v_proj))
        q, k = rotate(a.q_norm(q), *rope), rotate(a.k_norm(k), *rope)
        out = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), None).transpose(1, 2)
        x_BTD = x_BTD + a.o_proj(out.flatten(-2))
        m, y_BTD = block.mlp, block.post_attention_layernorm(x_BTD)
        x_BTD = x_BTD + m.down_proj(torch.nn.functional.silu(m.gate_proj(y_BTD)) * m.up_proj(y_BTD))
    return torch.nn.functional.linear(model.model.norm(x_BTD), model.head_weight_VD)


def worst(found: Tensor, expected: Tensor) -> float:
    return float((found.detach() - expected.detach()).abs().max())


def close(what: str, difference: float, unit: str) -> Figure:
    return Figure(what, float(f"{difference:.2g}"), unit, f"<= {TOLERANCE:g}", difference <= TOLERANCE)


if __name__ == "__main__":
    for figure in figures():
        mark = "   " if figure.is_met is None else "met" if figure.is_met else "NOT"
        print(f"{mark}  {figure.what}: {figure.value} {figure.unit}")
