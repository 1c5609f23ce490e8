"""What a frozen reference says of given answers, asked once and kept: log-probabilities of rows of answers.

The numbers lie in the stage's folder under a name made of the reference and the rows, so that a run that goes on learns
from the same bits, and one with other data never does.  Units: nats, summed over the answer's tokens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glasshouse.batch.buckets import BUCKET_MULTIPLE
from glasshouse.batch.comparisons import Row, fingerprint
from glasshouse.batch.preferences import pad_rows
from glasshouse.checkpoint import load_details
from glasshouse.checkpoint.manifest import is_own, verify
from glasshouse.checkpoint.weights import read_tensors, weight_files, write_tensors
from glasshouse.core.config import Config
from glasshouse.core.files import sha256_file, sha256_text
from glasshouse.model import Transformer
from glasshouse.objective import answer_logps

BATCH_TOKENS = 8192


def weights_id(folder: Path) -> str:
    """The id of one of our checkpoints; of any other, the hash of its weights."""
    if is_own(folder):
        return verify(folder, checks_hashes=False).id
    return sha256_text("".join(sha256_file(folder / name) for name in weight_files(folder)))


def recipe_of(parent: Path, config: Config) -> dict[str, Any]:
    """What an aligned checkpoint tells of its making: the recipe of its parent, where that has one, and this."""
    inherited = load_details(parent).recipe if is_own(parent) else {}
    return {**inherited, "align": config.model_dump(mode="json")}


def kept_logps(
    folder: Path, reference: Transformer, reference_id: str, rows: Sequence[Row], pad_id: int
) -> list[float]:
    """One number a row; computed where `folder` does not hold them."""
    path = folder / f"reference-{sha256_text(reference_id + fingerprint(rows))[:12]}.safetensors"
    if not path.exists():
        write_tensors(path, {"logp_B": row_logps(reference, rows, pad_id)})
    kept: list[float] = read_tensors(path)["logp_B"].tolist()
    return kept


@torch.no_grad()
def row_logps(model: Transformer, rows: Sequence[Row], pad_id: int) -> Tensor:
    """(B,), on the CPU.  Longest rows first, so that too little memory shows at once."""
    logp_B = torch.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
    while order:
        length = -(-len(rows[order[0]]) // BUCKET_MULTIPLE) * BUCKET_MULTIPLE
        n_rows = max(1, BATCH_TOKENS // length)
        now, order = order[:n_rows], order[n_rows:]
        batch = pad_rows((rows[i] for i in now), min(length, model.config.max_seq_len), pad_id).to(model.device)
        logp_B[now] = answer_logps(model, batch)[0].float().cpu()
    return logp_B
