"""A checkpoint directory to a model and its tokenizer: ours, or a Hugging Face directory of Qwen3 or Llama shape."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from glasshouse.checkpoint.manifest import OWN_FOLDER, Manifest, is_own, verify
from glasshouse.checkpoint.save import check_tokenizer_fits
from glasshouse.checkpoint.weights import fill_weights, iterate_tensors, weight_files
from glasshouse.core.environment import start_torch
from glasshouse.core.errors import CheckpointError
from glasshouse.core.files import read_json
from glasshouse.meter import Cost
from glasshouse.model import ModelConfig, ScoringTransformer, Transformer
from glasshouse.tokenizer import Tokenizer

T = TypeVar("T", bound=Transformer)
TOKENIZERS = ("tokenizer.json", "tokenizer.model")  # the first where there are both; old Llamas have only the second


@dataclass(frozen=True)
class Details:
    """What a checkpoint says of its origin."""

    recipe: dict[str, Any]
    cost: Cost | None
    provenance: dict[str, Any]
    manifest: Manifest


def load_model(
    folder: Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    *,
    checks_hashes: bool = True,
) -> tuple[Transformer, Tokenizer]:
    """The model in evaluation mode, and its tokenizer.

    dtype: default fp32 on CPU, where half precision is slower (2048 x 2048 matmul: fp32 328, bf16 161 GFLOP/s), and on
    GPU the type the weights are stored in.
    """
    return _load(Transformer, folder, device, dtype, checks_hashes)


def load_scorer(
    folder: Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    *,
    checks_hashes: bool = True,
) -> tuple[ScoringTransformer, Tokenizer]:
    """The same for a reward model: a Hugging Face sequence classifier of one label."""
    return _load(ScoringTransformer, folder, device, dtype, checks_hashes)


def _load(
    kind: type[T], folder: Path, device: torch.device | str, dtype: torch.dtype | None, checks_hashes: bool
) -> tuple[T, Tokenizer]:
    start_torch()
    model, tokenizer = _blank(kind, Path(folder), checks_hashes)
    model.to(dtype or _default_dtype(Path(folder), torch.device(device)))
    model.to_empty(device=device)  # memory is taken once, of the right type and place
    fill_weights(model, Path(folder))
    return model.eval(), tokenizer


def load_blank(folder: Path, *, checks_hashes: bool = True) -> tuple[Transformer, Tokenizer]:
    """The model without its weights and without memory, and the tokenizer: for `Trainer(fill=stored(folder))`."""
    return _blank(Transformer, Path(folder), checks_hashes)


def _blank(kind: type[T], folder: Path, checks_hashes: bool) -> tuple[T, Tokenizer]:
    manifest = verify(folder, checks_hashes=checks_hashes) if is_own(folder) else None
    config = load_config(folder, is_scorer=issubclass(kind, ScoringTransformer))
    return kind.blank(config), load_tokenizer(folder, config, manifest)


def load_config(folder: Path, *, is_scorer: bool = False) -> ModelConfig:
    """The shape alone, from config.json."""
    return ModelConfig.from_hf(_read_config(Path(folder)), str(Path(folder) / "config.json"), is_scorer=is_scorer)


def load_tokenizer(folder: Path, config: ModelConfig, manifest: Manifest | None = None) -> Tokenizer:
    """The directory's tokenizer, refused when it does not belong to the weights."""
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise CheckpointError(f"{folder}: no {TOKENIZERS[0]}. Weights without their tokenizer cannot be used.")
    tokenizer = Tokenizer.load(folder)
    if manifest is not None and tokenizer.hash != manifest.tokenizer_hash:
        raise CheckpointError(
            f"{folder / 'tokenizer.json'}: this tokenizer does not belong to these weights: its hash is "
            f"{tokenizer.hash[:12]}, they were trained with {manifest.tokenizer_hash[:12]}."
        )
    check_tokenizer_fits(config, tokenizer, folder)
    return tokenizer


def load_details(folder: Path) -> Details:
    """Recipe, cost and provenance of one of our checkpoints."""
    own = Path(folder) / OWN_FOLDER
    names = ("recipe", "cost", "provenance")
    manifest = verify(Path(folder), only=[f"{OWN_FOLDER}/{name}.json" for name in names])
    recipe, cost, provenance = (read_json(own / f"{name}.json") for name in names)
    return Details(recipe, None if cost is None else Cost.from_json(cost), provenance, manifest)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such checkpoint directory.")
    if not path.is_file():
        raise CheckpointError(f"{folder}: no config.json: not a model directory.")
    try:
        values = read_json(path)
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged: {error}. Copy or download it again.") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: damaged: not a table of settings. Copy or download it again.")
    return values


def _default_dtype(folder: Path, device: torch.device) -> torch.dtype:
    if device.type == "cpu":
        return torch.float32
    return next(t.dtype for _, t in iterate_tensors(folder / weight_files(folder)[0]))
