"""State to disk and back, atomically, in the form that other tools open.

Names that need torch are imported on first use, so that a report can read a manifest without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from glasshouse.checkpoint.manifest import FileRecord as FileRecord
from glasshouse.checkpoint.manifest import Manifest as Manifest
from glasshouse.checkpoint.manifest import latest_checkpoint as latest_checkpoint
from glasshouse.checkpoint.manifest import read_manifest as read_manifest
from glasshouse.checkpoint.manifest import step_folder as step_folder
from glasshouse.checkpoint.manifest import verify as verify

if TYPE_CHECKING:
    from glasshouse.checkpoint.divided import WEIGHTS_PREFIX as WEIGHTS_PREFIX
    from glasshouse.checkpoint.divided import load_divided as load_divided
    from glasshouse.checkpoint.divided import save_divided as save_divided
    from glasshouse.checkpoint.divided import stored_shapes as stored_shapes
    from glasshouse.checkpoint.load import Details as Details
    from glasshouse.checkpoint.load import load_blank as load_blank
    from glasshouse.checkpoint.load import load_config as load_config
    from glasshouse.checkpoint.load import load_details as load_details
    from glasshouse.checkpoint.load import load_model as load_model
    from glasshouse.checkpoint.load import load_scorer as load_scorer
    from glasshouse.checkpoint.load import load_tokenizer as load_tokenizer
    from glasshouse.checkpoint.save import check_tokenizer_fits as check_tokenizer_fits
    from glasshouse.checkpoint.save import complete_checkpoint as complete_checkpoint
    from glasshouse.checkpoint.save import save_checkpoint as save_checkpoint
    from glasshouse.checkpoint.state import TrainingState as TrainingState
    from glasshouse.checkpoint.state import load_training_state as load_training_state
    from glasshouse.checkpoint.state import load_training_values as load_training_values
    from glasshouse.checkpoint.state import write_training_values as write_training_values
    from glasshouse.checkpoint.weights import fill_weights as fill_weights

_LAZY = {
    "Details": "load", "load_blank": "load", "load_config": "load", "load_details": "load", "load_model": "load",
    "load_scorer": "load", "load_tokenizer": "load",
    "check_tokenizer_fits": "save", "complete_checkpoint": "save", "save_checkpoint": "save",
    "TrainingState": "state", "load_training_state": "state", "load_training_values": "state",
    "write_training_values": "state",
    "WEIGHTS_PREFIX": "divided", "load_divided": "divided", "save_divided": "divided", "stored_shapes": "divided",
    "fill_weights": "weights",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
