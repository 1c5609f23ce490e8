"""The lens, tuned: for each layer an affine map, learned on text, into the language that the last layer reads.

Each translator minimises KL(final distribution || lens distribution), alone, with the model frozen.  It begins at zero,
where the tuned lens is the logit lens, so that what was gained is the difference of two numbers on the same text.

Shapes: R readings (L of them are translated), B windows, T tokens, M tokens in a row, D model, V vocab.
Units: KL in nats a token.  Source: arXiv:2303.08112 (eq. 5; Adam in place of SGD with momentum).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from glasshouse.core.config import Config
from glasshouse.core.errors import CheckpointError
from glasshouse.core.terminal import Terminal
from glasshouse.explain.beside import read_beside, write_beside
from glasshouse.explain.lens import Translators, log_probabilities, read_out, residual_rows
from glasshouse.explain.windows import Windows
from glasshouse.model import Transformer

NAME = "lens"
REMEDY = "glass explain train-lens MODEL"
HELD_OUT_TOKENS = 8192


class TunedLensConfig(Config):
    steps: int = Field(300, gt=0)
    batch_tokens: int = Field(1024, gt=0)
    lr: float = Field(1e-3, gt=0)  # falls linearly to zero
    seed: int = 0


@dataclass(frozen=True)
class TunedLens:
    """`kl_L` of the tuned and `plain_kl_L` of the plain lens, for each layer's input, on held-out text."""

    translators: Translators
    kl_L: tuple[float, ...]
    plain_kl_L: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return {"kl_nats_by_layer": list(self.kl_L), "plain_kl_nats_by_layer": list(self.plain_kl_L)}


def train_tuned_lens(
    model: Transformer, windows: Windows, config: TunedLensConfig | None = None, terminal: Terminal | None = None
) -> TunedLens:
    """Learn the translators on the training windows, judge them on the held-out ones."""
    config = config or TunedLensConfig()
    n_layers, d_model = model.config.n_layers, model.config.d_model
    matrix_LDD = torch.zeros(n_layers, d_model, d_model, device=model.device, requires_grad=True)
    bias_LD = torch.zeros(n_layers, d_model, device=model.device, requires_grad=True)
    optimizer = torch.optim.Adam([matrix_LDD, bias_LD], lr=config.lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, config.steps)
    translators = Translators(matrix_LDD, bias_LD)
    n_windows = max(1, config.batch_tokens // windows.seq_len)
    with (terminal or Terminal(is_quiet=True)).task("lens", total=config.steps) as task:
        for step in range(config.steps):
            ids_BT = windows.draw(step, n_windows, config.seed).to(model.device)
            kls = []
            for kl in _row_kls(model, ids_BT, translators):
                kl.backward()  # type: ignore[no-untyped-call]
                kls.append(float(kl.detach()))
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            task.advance_to(step + 1, f"KL {sum(kls) / len(kls):.3f}")
    trained = Translators(matrix_LDD.detach(), bias_LD.detach())
    plain = Translators(torch.zeros_like(trained.matrix_LDD), torch.zeros_like(trained.bias_LD))
    return TunedLens(trained, held_out_kl(model, windows, trained), held_out_kl(model, windows, plain))


@torch.no_grad()
def held_out_kl(model: Transformer, windows: Windows, translators: Translators) -> tuple[float, ...]:
    """KL(final || lens) of each layer's input, nats a token, on windows that no translator was trained on."""
    sums_L, n_batches = torch.zeros(model.config.n_layers), 0
    for ids_BT in windows.held_out(8, HELD_OUT_TOKENS):
        sums_L += torch.stack(list(_row_kls(model, ids_BT.to(model.device), translators))).cpu() * len(ids_BT)
        n_batches += len(ids_BT)
    return tuple((sums_L / n_batches).tolist())


def save_tuned_lens(folder: Path, lens: TunedLens) -> Path:
    tensors = {"matrix": lens.translators.matrix_LDD, "bias": lens.translators.bias_LD}
    return write_beside(folder, NAME, tensors, lens.to_json())


def load_tuned_lens(folder: Path, model: Transformer) -> TunedLens:
    """The lens that was trained for this checkpoint; any other's is refused."""
    tensors, record = read_beside(folder, NAME, REMEDY)
    n_layers, d_model = model.config.n_layers, model.config.d_model
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if shapes != {"matrix": (n_layers, d_model, d_model), "bias": (n_layers, d_model)}:
        raise CheckpointError(f"{folder}: its lens does not fit this model's shape. Make it anew: {REMEDY}")
    translators = Translators(tensors["matrix"].to(model.device), tensors["bias"].to(model.device))
    kls = (tuple(map(float, record[key])) for key in ("kl_nats_by_layer", "plain_kl_nats_by_layer"))
    return TunedLens(translators, *kls)


def _row_kls(model: Transformer, ids_BT: Tensor, translators: Translators) -> Iterator[Tensor]:
    """One mean KL a layer, made when it is asked for: only one row's logits are in memory at a time."""
    with torch.no_grad():
        rows = [row_BTD.flatten(0, 1).float() for row_BTD in residual_rows(model, ids_BT)]
        final_MV = _logp(model, rows[-1])
    for row, resid_MD in enumerate(rows[:-1]):
        lens_MV = _logp(model, translators(resid_MD, row))
        yield F.kl_div(lens_MV, final_MV, reduction="batchmean", log_target=True)


def _logp(model: Transformer, resid_MD: Tensor) -> Tensor:
    return log_probabilities(read_out(model, resid_MD.to(model.dtype)))
