"""State to disk as a Hugging Face model directory plus `glasshouse/`, whole or not at all.

step-00000120/
  config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json
  glasshouse/recipe.json cost.json provenance.json training_state.{json,safetensors} manifest.json
"""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from glasshouse import __version__
from glasshouse.checkpoint.manifest import MANIFEST, OWN_FOLDER, Manifest, record_files
from glasshouse.checkpoint.replace import replaced_folder, sync_tree
from glasshouse.checkpoint.state import TrainingState, write_training_state
from glasshouse.checkpoint.weights import MAX_SHARD_BYTES, write_weights
from glasshouse.core.errors import CheckpointError
from glasshouse.core.files import write_json
from glasshouse.meter import Cost
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer

END_TOKENS = ("<|im_end|>", "<|endoftext|>")  # either ends an answer
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def save_checkpoint(
    folder: Path,
    model: Transformer,
    tokenizer: Tokenizer,
    *,
    recipe: Mapping[str, Any],
    cost: Cost | None,
    provenance: Mapping[str, Any],
    training_state: TrainingState | None = None,
    parent: str | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Path:
    """Write a checkpoint, replacing in one step an older one of that name.  On any failure the older one stays good.

    parent: the id (`verify(...).id`) of the checkpoint this one was trained from.
    """
    folder = _destination(Path(folder))
    check_tokenizer_fits(model.config, tokenizer)
    try:
        with replaced_folder(folder) as new:
            write_weights(new, dict(model.named_parameters()), max_shard_bytes)
            if training_state is not None:
                write_training_state(new, training_state)
            complete_checkpoint(new, model, tokenizer, recipe=recipe, cost=cost, provenance=provenance, parent=parent)
    except (OSError, SafetensorError) as error:
        raise _failure(folder, error) from error
    return folder


def complete_checkpoint(
    folder: Path,
    model: Transformer,
    tokenizer: Tokenizer,
    *,
    recipe: Mapping[str, Any],
    cost: Cost | None,
    provenance: Mapping[str, Any],
    parent: str | None = None,
) -> None:
    """Beside the tensors already written: what describes them, and the manifest last."""
    _describe_model(folder, model, tokenizer)
    own = folder / OWN_FOLDER
    write_json(own / "recipe.json", dict(recipe))
    write_json(own / "cost.json", None if cost is None else cost.to_json())
    write_json(own / "provenance.json", dict(provenance))
    sync_tree(folder)
    manifest = Manifest(record_files(folder), tokenizer.hash, __version__, parent)
    write_json(folder / MANIFEST, manifest.to_json())


def check_tokenizer_fits(config: ModelConfig, tokenizer: Tokenizer, source: Path | str = "the model") -> None:
    """A tokenizer may have fewer ids than the model has rows (padded vocabularies), never more."""
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{source}: the tokenizer has {tokenizer.vocab_size:,} ids, the weights only {config.vocab_size:,} rows: "
            "this tokenizer does not belong to these weights. Use the tokenizer they were trained with."
        )


def _destination(folder: Path) -> Path:
    """The real folder behind a link; refuses to replace what is not a model."""
    folder = folder.resolve() if folder.is_symlink() else folder
    is_taken = folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").is_file()
    )
    if is_taken:
        raise CheckpointError(
            f"{folder}: exists and is not a checkpoint; it is not overwritten. Choose another folder."
        )
    return folder


def _describe_model(folder: Path, model: Transformer, tokenizer: Tokenizer) -> None:
    dtype = str(model.dtype).removeprefix("torch.")
    ends = [tokenizer.special_ids[name] for name in END_TOKENS if name in tokenizer.special_ids]
    # bos is written out as null because Llama's default, id 1, would be one of our ordinary tokens
    special = {
        "bos_token_id": None,
        "eos_token_id": ends[0] if ends else None,
        "pad_token_id": ends[-1] if ends else None,
    }
    # both spellings of dtype: transformers 5 says `dtype`, older readers `torch_dtype`
    config = {**model.to_hf(), "dtype": dtype, "torch_dtype": dtype, **special, "use_cache": True}
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {**special, "eos_token_id": ends or None})
    tokenizer.save(folder)


def _failure(folder: Path, error: Exception) -> CheckpointError:
    text = str(error)
    is_full = getattr(error, "errno", None) in FULL_DISK or any(f"os error {code})" in text for code in FULL_DISK)
    reason = "the disk is full or a size limit was reached" if is_full else "it could not be written"
    kept = (
        "The checkpoint that was there before is untouched."
        if folder.exists()
        else "Earlier checkpoints are untouched."
    )
    remedy = " Make room and resume the run." if is_full else ""
    return CheckpointError(f"{folder}: not saved: {reason} ({text}). {kept}{remedy}")
