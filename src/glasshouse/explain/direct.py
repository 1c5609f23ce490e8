"""The logit of a token as an exact sum: what the embedding, every head, every MLP and every neuron wrote towards it.

The residual stream x is a sum, and the head reads it through a norm: logit = u . (w * x / rms(x)).  With the scale
1 / rms(x) of this position kept as it is, the logit is linear in x, so that each part has its exact share.
This is the direct effect alone: a head that feeds a later head gets no share of what that one writes.

Shapes: L layers, N heads, H head, F ffn, D model.  Units: logits.  Source: transformer-circuits.pub/2021/framework.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glasshouse.explain.lens import wide
from glasshouse.explain.places import checked_position, checked_token, prompt_row
from glasshouse.model import Taps, Transformer

WRITERS = ("o_proj.weight", "down_proj.weight")  # the matrices that write into the residual stream


@dataclass(frozen=True)
class DirectAttribution:
    """`embed` + all of `head_LN` + all of `mlp_L` = `logit`; `neuron_LF` breaks up `mlp_L`."""

    embed: float
    head_LN: Tensor
    mlp_L: Tensor
    neuron_LF: Tensor
    logit: float  # of the target, or its lead over `other`, as the model computed it

    @property
    def total(self) -> float:
        return self.embed + float(self.head_LN.sum()) + float(self.mlp_L.sum())


@torch.no_grad()
def direct_attribution(
    model: Transformer, ids: Sequence[int], target: int, other: int | None = None, position: int = -1
) -> DirectAttribution:
    """Who wrote the logit of `target` after the token at `position`; with `other`, who wrote its lead over that."""
    at, n_layers = checked_position(position, len(ids)), model.config.n_layers
    taps = Taps(["embed", "layers.*.head_out", "layers.*.mlp_act", f"layers.{n_layers - 1}.resid_post", "final_norm"])
    model.hidden(prompt_row(model, ids), taps=taps)
    value = {name: wide(tensor[0, at]) for name, tensor in taps.values.items()}
    reader_D = _reader(model, target, other)
    towards_D = _frozen_norm(model, value[f"layers.{n_layers - 1}.resid_post"]) * reader_D
    heads, neurons = [], []
    weight = {name: wide(parameter) for name, parameter in model.named_parameters() if name.endswith(WRITERS)}
    for i in range(n_layers):
        out_NHD = weight[f"model.layers.{i}.self_attn.o_proj.weight"].T.unflatten(0, (-1, model.config.d_head))
        heads.append(torch.einsum("nh,nhd,d->n", value[f"layers.{i}.head_out"], out_NHD, towards_D))
        down_DF = weight[f"model.layers.{i}.mlp.down_proj.weight"]
        neurons.append(value[f"layers.{i}.mlp_act"] * (towards_D @ down_DF))
    neuron_LF = torch.stack(neurons)
    return DirectAttribution(
        embed=float(value["embed"] @ towards_D),
        head_LN=torch.stack(heads),
        mlp_L=neuron_LF.sum(-1),
        neuron_LF=neuron_LF,
        logit=float(value["final_norm"] @ reader_D),
    )


def _reader(model: Transformer, target: int, other: int | None) -> Tensor:
    reader_D = wide(model.head_weight_VD[checked_token(model.config, target)])
    return reader_D if other is None else reader_D - wide(model.head_weight_VD[checked_token(model.config, other)])


def _frozen_norm(model: Transformer, resid_D: Tensor) -> Tensor:
    """What the final norm multiplies each coordinate of this residual stream by."""
    norm = model.model.norm
    return wide(norm.weight) * torch.rsqrt(resid_D.pow(2).mean() + norm.eps)
