"""What a model is not sure of it does not say: an answer is held until it is whole, and given only if likely enough.

How sure a model is of an answer is the probability it gave to it: the product over its tokens, the end included.  Where
a checkpoint has learned from which probability on it may be believed (`run.doubting`), `glasshouse/doubt.json` says so,
and every conversation with it goes by that.   Source: selective prediction, Geifman and El-Yaniv (arXiv:1705.08500).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from glasshouse.core.config import Config, parse_config
from glasshouse.core.files import read_json, write_json

FILE = "glasshouse/doubt.json"


class Doubt(Config):
    """Answers less likely than `below` give way to `says`."""

    below: float = Field(gt=0, lt=1)  # probability of the whole answer
    says: str = Field(min_length=1)
    spares: str = ""  # answers with this in them are given: whoever says that they do not know need not be sure

    def holds_back(self, text: str, logp_sum: float) -> bool:
        """`logp_sum`: nats, of all tokens of the answer."""
        is_spared = bool(self.spares) and self.spares in text
        return not is_spared and logp_sum < math.log(self.below)


def read_doubt(checkpoint: Path) -> Doubt | None:
    """What the checkpoint doubts; None where nobody measured that."""
    path = checkpoint / FILE
    return parse_config(Doubt, read_json(path)["doubt"]) if path.is_file() else None


def write_doubt(checkpoint: Path, doubt: Doubt, measured: Mapping[str, Any]) -> None:
    """`measured`: how the probability was found, for people."""
    write_json(checkpoint / FILE, {"doubt": doubt.model_dump(), "measured": dict(measured)})
