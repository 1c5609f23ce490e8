"""What exact resumption needs beyond the weights: named tensors and JSON values, never a pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from glasshouse.checkpoint.manifest import OWN_FOLDER, verify
from glasshouse.checkpoint.weights import read_tensors, write_tensors
from glasshouse.core.errors import CheckpointError
from glasshouse.core.files import read_json, write_json

STATE_TENSORS = f"{OWN_FOLDER}/training_state.safetensors"
STATE_VALUES = f"{OWN_FOLDER}/training_state.json"


@dataclass(frozen=True)
class TrainingState:
    """`tensors` come back equal to the bit; `values` hold only what JSON can say (tuples come back as lists)."""

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


def write_training_state(folder: Path, state: TrainingState) -> None:
    write_training_values(folder, state.values)
    write_tensors(folder / STATE_TENSORS, state.tensors)


def write_training_values(folder: Path, values: Mapping[str, Any]) -> None:
    try:
        json.dumps(values)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"training state holds a value that JSON cannot say: {error}") from None
    write_json(folder / STATE_VALUES, dict(values))


def load_training_values(folder: Path) -> dict[str, Any]:
    """The values alone, not checked against the manifest."""
    return dict(read_json(Path(folder) / STATE_VALUES))


def load_training_state(folder: Path) -> TrainingState:
    """The optimizer's, the loader's and the random generators' state, checked against the manifest."""
    folder = Path(folder)
    manifest = verify(folder, only=(STATE_TENSORS, STATE_VALUES))
    if STATE_VALUES not in manifest.files:
        raise CheckpointError(
            f"{folder}: holds no training state, so it cannot be resumed exactly. Start a new stage from its weights."
        )
    return TrainingState(read_tensors(folder / STATE_TENSORS), read_json(folder / STATE_VALUES))
