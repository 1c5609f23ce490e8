"""A dictionary of features for one layer: a sparse autoencoder whose every token is a sum of k learned directions.

    z = TopK(W_enc (x - b)),   x' = W_dec z + b

x is the residual stream after a layer, divided by one number so that its mean square is 1.  A feature that has not been
used for `dead_after_tokens` is dead; the dead are brought back by having to explain, `k_aux` of them together, what the
others left over (loss weight 1/32).  Decoder columns have length 1; the encoder begins as their transpose.

Shapes: M tokens, D model, U features, L layers.  Source: arXiv:2406.04093 (sections 2.3, A.2).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from glasshouse.core.config import Config
from glasshouse.core.errors import CheckpointError, ConfigError
from glasshouse.core.terminal import Terminal
from glasshouse.explain.beside import read_beside, write_beside
from glasshouse.explain.passages import Passage, top_passages
from glasshouse.explain.places import checked_layer
from glasshouse.explain.windows import Windows
from glasshouse.model import Taps, Transformer

REMEDY = "glass explain train-sae MODEL --layer {layer}"
AUX_WEIGHT = 1 / 32
HELD_OUT_TOKENS = 32_768


class SAEConfig(Config):
    layer: int = 0
    n_features: int | None = None  # None: 8 for each dimension of the model
    k: int = Field(16, gt=0)  # features a token
    steps: int = Field(1000, gt=0)
    batch_tokens: int = Field(2048, gt=0)
    lr: float = Field(1e-3, gt=0)  # falls linearly to zero over the last fifth
    k_aux: int = Field(64, gt=0)
    dead_after_tokens: int = Field(100_000, gt=0)
    seed: int = 0


@dataclass(frozen=True)
class SparseAutoencoder:
    layer: int
    k: int
    encoder_UD: Tensor
    decoder_UD: Tensor  # row u is the direction of feature u
    bias_D: Tensor
    scale: float  # what the residual stream is divided by

    def encode(self, resid_MD: Tensor) -> Tensor:
        """Strength of every feature, (..., U): k of them are not zero, or fewer; none is negative."""
        return keep_largest(self.before_choice(resid_MD), self.k)

    def decode(self, strength_MU: Tensor) -> Tensor:
        """The residual stream that these strengths stand for, (..., D)."""
        return (strength_MU @ self.decoder_UD + self.bias_D) * self.scale

    def before_choice(self, resid_MD: Tensor) -> Tensor:
        return (resid_MD / self.scale - self.bias_D) @ self.encoder_UD.T


@dataclass(frozen=True)
class SAEReport:
    """On held-out text.  `loss_*` are the model's own, nats a token: as it is, with the layer's output replaced by the
    dictionary's account of it, and with that output replaced by its mean."""

    explained_variance: float
    n_dead: int  # features that no held-out token used
    n_features: int
    loss_clean: float
    loss_replaced: float
    loss_ablated: float
    n_tokens: int

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__}


def keep_largest(value_MU: Tensor, k: int) -> Tensor:
    """The k largest of each row, where positive; zero elsewhere.

    >>> keep_largest(torch.tensor([3.0, -1.0, 2.0, 1.0]), 2)
    tensor([3., 0., 2., 0.])
    """
    top, where = value_MU.topk(k, dim=-1)
    return torch.zeros_like(value_MU).scatter(-1, where, top.relu())


def residual_after(model: Transformer, layer: int, ids_BT: Tensor) -> Tensor:
    """(B, T, D), fp32."""
    taps = Taps([name := f"layers.{layer}.resid_post"])
    model.hidden(ids_BT.to(model.device), taps=taps)
    return taps.values[name].float()


def train_sae(
    model: Transformer, windows: Windows, config: SAEConfig | None = None, terminal: Terminal | None = None
) -> tuple[SparseAutoencoder, SAEReport]:
    """Learn a dictionary of the residual stream after `config.layer`, and judge it on held-out windows."""
    config = config or SAEConfig()
    checked_layer(model.config, config.layer)
    n_features = config.n_features or 8 * model.config.d_model
    if not config.k <= n_features:
        raise ConfigError(f"k ({config.k}) features a token cannot be more than there are ({n_features})")
    sae = _begin(model, windows, config, n_features)
    parameters = [p.requires_grad_() for p in (sae.encoder_UD, sae.decoder_UD, sae.bias_D)]
    optimizer = torch.optim.Adam(parameters, lr=config.lr, betas=(0.9, 0.999), eps=6.25e-10)
    unused_U = torch.zeros(n_features, device=model.device)  # tokens since each was used
    n_windows = max(1, config.batch_tokens // windows.seq_len)
    with (terminal or Terminal(is_quiet=True)).task("sae", total=config.steps) as task:
        for step in range(config.steps):
            optimizer.param_groups[0]["lr"] = config.lr * min(1.0, 5 * (1 - step / config.steps))
            with torch.no_grad():
                ids_BT = windows.draw(step, n_windows, config.seed)
                x_MD = residual_after(model, config.layer, ids_BT).flatten(0, 1) / sae.scale
            loss, used_U = _loss(sae, x_MD, unused_U > config.dead_after_tokens, config.k_aux)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                sae.decoder_UD.copy_(F.normalize(sae.decoder_UD, dim=-1))
                unused_U = torch.where(used_U, 0.0, unused_U + len(x_MD))
            task.advance_to(step + 1, f"unexplained {float(loss.detach()):.3f}")
    for parameter in parameters:
        parameter.requires_grad_(False)
    return sae, judge_sae(model, windows, sae)


@torch.no_grad()
def judge_sae(model: Transformer, windows: Windows, sae: SparseAutoencoder) -> SAEReport:
    """How much of the layer the dictionary explains, how many of its features are used, what it costs the model."""
    batches = list(windows.held_out(8, HELD_OUT_TOKENS))
    residuals = [residual_after(model, sae.layer, ids_BT).flatten(0, 1) for ids_BT in batches]
    mean_D = torch.cat(residuals).mean(0)
    left = total = 0.0
    used_U = torch.zeros(len(sae.encoder_UD), dtype=torch.bool, device=model.device)
    for x_MD in residuals:
        strength_MU = sae.encode(x_MD)
        used_U |= (strength_MU > 0).any(0)
        left += float((x_MD - sae.decode(strength_MU)).pow(2).sum())
        total += float((x_MD - mean_D).pow(2).sum())
    edits = (
        lambda x: x,
        lambda x: sae.decode(sae.encode(x.float())).to(x.dtype),
        lambda x: mean_D.to(x.dtype).expand_as(x),
    )
    clean, replaced, ablated = (_loss_with(model, batches, sae.layer, edit) for edit in edits)
    n_tokens = sum(ids_BT.numel() for ids_BT in batches)
    n_dead = int((~used_U).sum())
    return SAEReport(1 - left / total, n_dead, len(used_U), clean, replaced, ablated, n_tokens)


def feature_passages(
    model: Transformer, windows: Windows, sae: SparseAutoencoder, k: int = 6, max_tokens: int = 200_000,
    terminal: Terminal | None = None,
) -> list[list[Passage]]:  # fmt: skip
    """For every feature the passages that use it most."""
    return top_passages(
        windows, lambda ids_BT: sae.encode(residual_after(model, sae.layer, ids_BT)), k, max_tokens, terminal
    )


def save_sae(folder: Path, sae: SparseAutoencoder, report: SAEReport, passages: list[list[Passage]]) -> Path:
    tensors = {"encoder": sae.encoder_UD, "decoder": sae.decoder_UD, "bias": sae.bias_D}
    found = [[[list(p.ids), p.at, p.strength] for p in feature] for feature in passages]
    record = {"layer": sae.layer, "k": sae.k, "scale": sae.scale, "report": report.to_json(), "passages": found}
    return write_beside(folder, sae_name(sae.layer), tensors, record)


def load_sae(folder: Path, model: Transformer, layer: int) -> tuple[SparseAutoencoder, SAEReport, list[list[Passage]]]:
    """The dictionary of one layer of this checkpoint; any other's is refused."""
    remedy = REMEDY.format(layer=checked_layer(model.config, layer))
    tensors, record = read_beside(folder, sae_name(layer), remedy)
    try:
        encoder_UD, decoder_UD, bias_D = (tensors[n].to(model.device) for n in ("encoder", "decoder", "bias"))
        sae = SparseAutoencoder(layer, int(record["k"]), encoder_UD, decoder_UD, bias_D, float(record["scale"]))
        passages = [[Passage(tuple(ids), at, v) for ids, at, v in feature] for feature in record["passages"]]
        report = SAEReport(**record["report"])
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(f"{folder}: its {sae_name(layer)} is damaged. Make it anew: {remedy}") from None
    if encoder_UD.shape[1] != model.config.d_model or encoder_UD.shape != decoder_UD.shape:
        raise CheckpointError(f"{folder}: its {sae_name(layer)} does not fit this model. Make it anew: {remedy}")
    return sae, report, passages


def sae_name(layer: int) -> str:
    """`sae_name(2)` -> `sae-layer2`."""
    return f"sae-layer{layer}"


@torch.no_grad()
def _begin(model: Transformer, windows: Windows, config: SAEConfig, n_features: int) -> SparseAutoencoder:
    x_MD = residual_after(model, config.layer, windows.draw(0, 16, config.seed)).flatten(0, 1)
    scale = float(x_MD.pow(2).mean().sqrt())
    generator = torch.Generator().manual_seed(config.seed)
    decoder_UD = F.normalize(torch.randn(n_features, model.config.d_model, generator=generator), dim=-1)
    decoder_UD = decoder_UD.to(model.device)
    bias_D = x_MD.mean(0) / scale
    return SparseAutoencoder(config.layer, config.k, decoder_UD.clone(), decoder_UD, bias_D, scale)


def _loss(sae: SparseAutoencoder, x_MD: Tensor, is_dead_U: Tensor, k_aux: int) -> tuple[Tensor, Tensor]:
    """(unexplained share of the variance, with the help for the dead; which features were used)."""
    value_MU = (x_MD - sae.bias_D) @ sae.encoder_UD.T
    strength_MU = keep_largest(value_MU, sae.k)
    error_MD = x_MD - (strength_MU @ sae.decoder_UD + sae.bias_D)
    variance = (x_MD - x_MD.mean(0)).pow(2).mean()
    loss = error_MD.pow(2).mean() / variance
    if n_dead := int(is_dead_U.sum()):
        dead_MU = keep_largest(value_MU.masked_fill(~is_dead_U, float("-inf")), min(k_aux, n_dead))
        left_MD = error_MD.detach() - dead_MU @ sae.decoder_UD
        loss = loss + AUX_WEIGHT * left_MD.pow(2).mean() / error_MD.detach().pow(2).mean()
    return loss, (strength_MU > 0).any(0)


def _loss_with(model: Transformer, batches: list[Tensor], layer: int, edit: Any) -> float:
    """The model's mean loss with the residual stream after `layer` edited."""
    taps = Taps(edits={f"layers.{layer}.resid_post": edit})
    loss_sum, n_scored = 0.0, 0
    for ids_BT in batches:
        ids_BT = ids_BT.to(model.device)
        logits_BTV = model(ids_BT, taps=taps)[:, :-1].float()
        loss_sum += float(F.cross_entropy(logits_BTV.flatten(0, 1), ids_BT[:, 1:].flatten(), reduction="sum"))
        n_scored += ids_BT[:, 1:].numel()
    return loss_sum / n_scored
