"""Held-out loss of a token shard: consecutive windows, each token predicted once.  Units: nats and bits per byte."""

import math

import numpy as np
import torch

from glasshouse.batch import LMBatch, TokenShard
from glasshouse.core.errors import DataError
from glasshouse.objective import LanguageModel, lm_loss


@torch.no_grad()  # not inference_mode: tables a model caches within it could not be trained with
def held_out_loss(
    model: LanguageModel,
    shard: TokenShard,
    seq_len: int,
    *,
    max_tokens: int | None = None,
    batch_tokens: int = 8192,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """{"eval/loss", "eval/bits_per_byte"} over the first `max_tokens` of the shard (all of it by default)."""
    n_tokens = min(shard.n_tokens, max_tokens or shard.n_tokens)
    if n_tokens < 2:
        raise DataError(f"{shard.path} holds {shard.n_tokens} tokens: nothing to judge by. Hold out more of the text")
    seq_len = min(seq_len, n_tokens - 1)  # a small text is judged in one shorter window
    n_rows = (n_tokens - 1) // seq_len
    loss_sum, n_targets, n_bytes = 0.0, 0, 0
    rows_at_once = max(1, batch_tokens // seq_len)
    for row in range(0, n_rows, rows_at_once):
        stop = min(n_rows, row + rows_at_once)
        tokens = shard.ids[row * seq_len : stop * seq_len + 1].astype(np.int64)
        ids, targets = (torch.from_numpy(t).view(stop - row, seq_len) for t in (tokens[:-1], tokens[1:]))
        output = lm_loss(model, LMBatch(ids, targets).to(torch.device(device)))
        loss_sum, n_targets = loss_sum + float(output.loss_sum), n_targets + output.n_targets
        n_bytes += int(shard.bytes_V[tokens[1:]].sum())
    metrics = {"eval/loss": loss_sum / n_targets}
    if n_bytes:
        metrics["eval/bits_per_byte"] = loss_sum / math.log(2) / n_bytes
    return metrics
