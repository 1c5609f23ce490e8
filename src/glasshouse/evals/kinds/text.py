"""Bits per byte: how well the model predicts a text as a whole."""

import math
from collections.abc import Sequence

from glasshouse.core.config import Config
from glasshouse.core.errors import DataError
from glasshouse.evals.item import Answered, Item
from glasshouse.evals.language_model import LanguageModel
from glasshouse.evals.template import Record, fill


class TextConfig(Config):
    text: str = "{text}"  # template


def text_of_record(config: TextConfig, record: Record) -> str:
    text = fill(config.text, record)
    if not text:
        raise DataError("the text is empty")
    return text


def ask(model: LanguageModel, items: Sequence[Item]) -> list[Answered]:
    found = model.rolling_likelihoods([item.shown_prompt for item in items])
    return [
        Answered("", {"bits_per_byte": (-f.logp_sum / math.log(2), float(f.n_bytes))}, {"n_tokens": f.n_tokens})
        for f in found
    ]


def baselines(items: Sequence[Item]) -> dict[str, float]:
    """Eight bits a byte: a model that knows nothing at all."""
    return {"nothing_known": 8.0}
