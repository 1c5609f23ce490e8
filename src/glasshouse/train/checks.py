"""What is refused before any work: data, model and recipe that do not fit together, and a text too small to learn from.

Also what may and may not differ when a run goes on from a checkpoint.
"""

import errno
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glasshouse.batch import Loader
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.model import ModelConfig
from glasshouse.parallel import Mesh, check_model
from glasshouse.tokenizer import Tokenizer
from glasshouse.train.config import TrainConfig

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_full_disk(error: Exception) -> bool:
    """Whether an error of writing, or of saving a checkpoint, came from a full disk, quota or file size limit."""
    return any(getattr(e, "errno", None) in FULL_DISK for e in (error, error.__cause__)) or "disk is full" in str(error)


def check_inputs(model: ModelConfig, tokenizer: Tokenizer, loader: Loader, seq_len: int) -> None:
    """Refuse what does not belong together before any work is done."""
    if loader.tokenizer_hash != tokenizer.hash:
        raise DataError(
            f"the data was encoded with tokenizer {loader.tokenizer_hash[:12]}, but the model's tokenizer is "
            f"{tokenizer.hash[:12]}. Encode the text again with this tokenizer."
        )
    if tokenizer.vocab_size > model.vocab_size:
        raise ConfigError(
            f"the tokenizer has {tokenizer.vocab_size} ids, the model only {model.vocab_size} (vocab_size). "
            f"Give the model at least as many."
        )
    if seq_len > model.max_seq_len:
        raise ConfigError(
            f"seq_len={seq_len} is more than the model's max_seq_len={model.max_seq_len}; "
            f"lower the one or raise the other."
        )


def check_corpus(n_epoch_tokens: int, n_planned_tokens: int, max_epochs: float) -> None:
    """Refuse a plan that would only learn a small text by heart, and say what would fit."""
    epochs = n_planned_tokens / n_epoch_tokens
    if epochs > max_epochs:
        raise DataError(
            f"the corpus is too small for this plan: {n_epoch_tokens:,} tokens would be read {epochs:,.0f} times "
            f"(allowed: {max_epochs:g}). What would fit: at least {math.ceil(n_planned_tokens / max_epochs):,} tokens "
            f"of text, or at most {int(n_epoch_tokens * max_epochs):,} training tokens (a smaller model, fewer steps). "
            f"Set train.max_epochs higher to do it nevertheless."
        )


def check_mesh(mesh: Mesh, model: ModelConfig, loader: Loader, config: TrainConfig, beside: Any) -> None:
    """Refuse what many processes could not share."""
    if mesh.world_size == 1:
        return
    n_rows = config.batch_tokens // config.seq_len if loader.has_fixed_shape else None
    check_model(model, mesh.sizes, config.seq_len, n_rows, config.microbatch_tokens)
    if beside is not None:
        raise ConfigError("a value head is trained by one process: start this stage without torchrun.")


def check_identity(saved: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    differences = list(_differences(saved, now))
    if differences:
        raise ConfigError(
            f"{path} was made with other settings, and going on would not give the same model: "
            f"{'; '.join(differences[:6])}. Put them back, or give the run another name."
        )


def _differences(a: Any, b: Any, key: str = "") -> list[str]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return [d for k in {**a, **b} for d in _differences(a.get(k), b.get(k), f"{key}.{k}" if key else str(k))]
    if isinstance(a, Sequence) and isinstance(b, Sequence) and not isinstance(a, str):
        return [] if list(a) == list(b) else [f"{key} was {list(a)!r}, now {list(b)!r}"]
    return [] if a == b else [f"{key} was {a!r}, now {b!r}"]
