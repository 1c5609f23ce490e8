"""Transformers by configuration: single-device code, named taps, formulas for size and cost.

Names that need torch are imported on first use, so that planning and the command line start without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from glasshouse.model.config import ModelConfig as ModelConfig
from glasshouse.model.config import RopeScaling as RopeScaling
from glasshouse.model.memory import Keeps as Keeps
from glasshouse.model.memory import TrainingPath as TrainingPath
from glasshouse.model.memory import training_bytes as training_bytes
from glasshouse.model.presets import PRESETS as PRESETS
from glasshouse.model.size import ParameterCount as ParameterCount
from glasshouse.model.size import count_parameters as count_parameters
from glasshouse.model.size import flops_per_token as flops_per_token

if TYPE_CHECKING:
    from glasshouse.model.cache import KVCache as KVCache
    from glasshouse.model.init import InitConfig as InitConfig
    from glasshouse.model.paged import PagedAttention as PagedAttention
    from glasshouse.model.paged import PagedCache as PagedCache
    from glasshouse.model.scoring import ScoringTransformer as ScoringTransformer
    from glasshouse.model.taps import Taps as Taps
    from glasshouse.model.taps import tap_names as tap_names
    from glasshouse.model.transformer import Transformer as Transformer

_LAZY = {
    "KVCache": "cache", "InitConfig": "init", "PagedAttention": "paged", "PagedCache": "paged", "Taps": "taps",
    "ScoringTransformer": "scoring", "tap_names": "taps", "Transformer": "transformer",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
