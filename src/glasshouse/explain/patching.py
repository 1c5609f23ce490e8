"""Where a fact sits: put one activation of a clean run into a corrupted run, and see how much of the answer returns.

    effect = (lead patched - lead corrupted) / (lead clean - lead corrupted)

`lead` is the logit of the answer minus that of another token, after the last token.  0: the patch changed nothing;
1: it brought the whole answer back.  One number for each layer and position, at three places: the residual stream
before the block, what attention adds, what the MLP adds.

Shapes: L layers, T positions, B corrupted runs side by side, one a position.  Source: arXiv:2202.05262.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.explain.places import checked_token, prompt_row
from glasshouse.model import Taps, Transformer

SITES = ("resid_pre", "attn_out", "mlp_out")
MAX_TOKENS_AT_ONCE = 4096


@dataclass(frozen=True)
class PatchMap:
    """`effect_LT[site]`: share of the lead that comes back when this one activation is the clean run's."""

    effect_LT: Mapping[str, Tensor]
    clean_lead: float
    corrupted_lead: float
    answer: int
    other: int


@torch.no_grad()
def patch(
    model: Transformer,
    clean: Sequence[int],
    corrupted: Sequence[int],
    answer: int | None = None,
    other: int | None = None,
    *,
    sites: Sequence[str] = SITES,
    on_pass: Callable[[int, int], None] = lambda n_done, n_total: None,
) -> PatchMap:
    """The map for `answer` against `other`; by default what the model itself says next after either prompt, the
    likeliest other token where that is the same.

    on_pass: told after each layer of each site how many are done, of how many; what it raises ends the work.
    """
    clean_1T, corrupted_1T = _pair(model, clean, corrupted)
    names = [f"layers.*.{site}" for site in sites]
    taps = Taps(names)
    clean_V, corrupted_V = _last_logits(model, clean_1T, taps)[0], _last_logits(model, corrupted_1T)[0]
    answer, other = _answers(model, clean_V, corrupted_V, answer, other)
    clean_lead, corrupted_lead = (float(logit_V[answer] - logit_V[other]) for logit_V in (clean_V, corrupted_V))
    span = clean_lead - corrupted_lead
    if abs(span) < 1e-6:
        raise ConfigError("both prompts give the two tokens the same lead, so there is no difference to explain.")
    effect_LT: dict[str, Tensor] = {}
    n_layers, n_total = model.config.n_layers, len(sites) * model.config.n_layers
    for s, site in enumerate(sites):
        leads = []
        for layer in range(n_layers):
            name = f"layers.{layer}.{site}"
            logits_TV = _patched_logits(model, corrupted_1T, name, taps.values[name][0])
            leads.append(logits_TV[:, answer] - logits_TV[:, other])
            on_pass(s * n_layers + layer + 1, n_total)
        effect_LT[site] = (torch.stack(leads) - corrupted_lead) / span
    return PatchMap(effect_LT, clean_lead, corrupted_lead, answer, other)


def _patched_logits(model: Transformer, ids_1T: Tensor, name: str, clean_TD: Tensor) -> Tensor:
    """Last logits of T runs, (T, V): in run t, the activation `name` at position t is the clean one."""
    n_time = ids_1T.shape[1]
    parts = []
    for position_B in torch.arange(n_time, device=ids_1T.device).split(max(1, MAX_TOKENS_AT_ONCE // n_time)):
        row_B = torch.arange(len(position_B), device=ids_1T.device)

        def replace(value_BTD: Tensor, row_B: Tensor = row_B, position_B: Tensor = position_B) -> Tensor:
            return value_BTD.index_put((row_B, position_B), clean_TD[position_B])

        parts.append(_last_logits(model, ids_1T.expand(len(position_B), -1), Taps(edits={name: replace})))
    return torch.cat(parts)


def _last_logits(model: Transformer, ids_BT: Tensor, taps: Taps | None = None) -> Tensor:
    return (model.hidden(ids_BT, taps=taps)[:, -1] @ model.head_weight_VD.T).float()


def _pair(model: Transformer, clean: Sequence[int], corrupted: Sequence[int]) -> tuple[Tensor, Tensor]:
    rows = prompt_row(model, clean), prompt_row(model, corrupted)
    if len(clean) != len(corrupted):
        raise ConfigError(
            f"the prompts have {len(clean)} and {len(corrupted)} tokens; patching compares position by position, so "
            "they must have equally many. Change the other prompt until they do."
        )
    if torch.equal(*rows):
        raise ConfigError("both prompts are the same tokens, so there is no difference to explain.")
    return rows


def _answers(
    model: Transformer, clean_V: Tensor, corrupted_V: Tensor, answer: int | None, other: int | None
) -> tuple[int, int]:
    answer = int(clean_V.argmax()) if answer is None else checked_token(model.config, answer)
    if other is None:
        likeliest = corrupted_V.topk(2).indices.tolist()
        return answer, next(id for id in likeliest if id != answer)
    if checked_token(model.config, other) == answer:
        raise ConfigError(f"token {answer} cannot be compared with itself; name another, or none")
    return answer, other
