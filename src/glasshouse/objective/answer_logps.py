"""How likely the model finds given answers: log-probabilities of the counted targets, token by token or summed a row.

Shapes: B rows, T tokens, D model, V vocabulary, M counted targets.  Units: nats.
The head is computed only where a target counts, a chunk of targets at a time, and each chunk once more in the backward
pass, so that memory does not grow with the number of targets.  (`cross_entropy` makes its gradient in the forward pass;
here each token's gradient is scaled by what a loss makes of it later, so that cannot be.)  On CPU `native` does
the same in C++.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from glasshouse.batch import LMBatch
from glasshouse.objective.lm import LanguageModel, kernels_of
from glasshouse.objective.native import is_native, log_probabilities

CHUNK_ELEMENTS = 1 << 21  # 8 MB of fp32 logits at once: fits the last-level cache
PLAIN_ELEMENTS = 1 << 20  # up to this many logits are kept for the backward pass: faster than making them again


def answer_logps(model: LanguageModel, rows: LMBatch) -> tuple[Tensor, Tensor]:
    """(log-probability of each row's counted targets together, their number), both (B,)."""
    logp_BT = token_logps(model, rows)
    mask_BT = rows.loss_mask_BT
    n_targets_B = torch.full_like(rows.ids_BT[:, 0], rows.ids_BT.shape[1]) if mask_BT is None else mask_BT.sum(1)
    return logp_BT.sum(1), n_targets_B


def token_logps(model: LanguageModel, rows: LMBatch, *, temperature: float = 1.0) -> Tensor:
    """(B, T): log-probability of each counted target, 0 elsewhere; of the distribution that is sampled from at
    `temperature`."""
    logp_BT, _ = _of_targets(model, rows, temperature, has_entropy=False)
    return logp_BT


def token_logps_and_entropy(model: LanguageModel, rows: LMBatch, *, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """The same, and the entropy of the distribution that each counted target was drawn from, both (B, T)."""
    logp_BT, entropy_BT = _of_targets(model, rows, temperature, has_entropy=True)
    return logp_BT, entropy_BT


def _of_targets(model: LanguageModel, rows: LMBatch, temperature: float, has_entropy: bool) -> tuple[Tensor, Tensor]:
    """Both as (B, T); the entropy is 0 where it is not asked for."""
    hidden_BTD = model.hidden(rows.ids_BT, document_BT=rows.document_BT)
    hidden_MD, targets_M = hidden_BTD.flatten(0, 1), rows.targets_BT.flatten()
    counted = None if rows.loss_mask_BT is None else rows.loss_mask_BT.flatten().nonzero().squeeze(1)
    if counted is not None:
        hidden_MD, targets_M = hidden_MD.index_select(0, counted), targets_M.index_select(0, counted)
    given = (hidden_MD, model.head_weight_VD, targets_M, temperature, has_entropy)
    is_compiled = kernels_of(model) == "auto" and is_native(hidden_MD, model.head_weight_VD)
    both_2M = log_probabilities(*given) if is_compiled else _in_chunks(*given)
    if counted is not None:
        both_2M = both_2M.new_zeros((2, rows.n_tokens)).index_copy(1, counted, both_2M)
    logp_BT, entropy_BT = both_2M.view(2, *rows.ids_BT.shape).unbind(0)
    return logp_BT, entropy_BT


def _in_chunks(
    hidden_MD: Tensor, head_weight_VD: Tensor, targets_M: Tensor, temperature: float, has_entropy: bool
) -> Tensor:
    n_vocab = head_weight_VD.shape[0]
    is_learning = torch.is_grad_enabled() and (hidden_MD.requires_grad or head_weight_VD.requires_grad)
    is_kept = not is_learning or targets_M.numel() * n_vocab <= PLAIN_ELEMENTS
    n_rows = max(1, CHUNK_ELEMENTS // n_vocab)
    parts = []
    for hidden, targets in zip(hidden_MD.split(n_rows), targets_M.split(n_rows)):
        given = (hidden, head_weight_VD, targets, temperature, has_entropy)
        if is_kept:
            parts.append(_of_chunk(*given))
        else:
            parts.append(checkpoint(_of_chunk, *given, use_reentrant=False, preserve_rng_state=False))
    return torch.cat(parts, dim=1)


def _of_chunk(
    hidden_MD: Tensor, head_weight_VD: Tensor, targets_M: Tensor, temperature: float, has_entropy: bool
) -> Tensor:
    """(2, M): log-probability and entropy."""
    logits_MV = F.linear(hidden_MD, head_weight_VD).float()
    if temperature != 1.0:
        logits_MV = logits_MV / temperature
    logp_MV = logits_MV.log_softmax(1)
    logp_M = logp_MV.gather(1, targets_M[:, None]).squeeze(1)
    entropy_M = -(logp_MV.exp() * logp_MV).sum(1) if has_entropy else torch.zeros_like(logp_M)
    return torch.stack((logp_M, entropy_M))
