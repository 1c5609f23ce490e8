"""Minimal pairs: whether the model finds the good sentence likelier than the bad one that differs in one place.

Whole sentences are weighed, from their first token on (Marvin & Linzen 2018, BLiMP), so they have no prompt.
"""

from collections.abc import Sequence

from glasshouse.core.config import Config
from glasshouse.core.errors import DataError
from glasshouse.evals.item import Answered, Item
from glasshouse.evals.language_model import LanguageModel
from glasshouse.evals.template import Record, fill


class PairsConfig(Config):
    good: str  # templates
    bad: str


def options_of(config: PairsConfig, record: Record) -> tuple[str, str]:
    good, bad = fill(config.good, record), fill(config.bad, record)
    if good == bad or not good or not bad:
        raise DataError(f"a minimal pair is two different sentences; got {good!r} and {bad!r}")
    return good, bad


def ask(model: LanguageModel, items: Sequence[Item]) -> list[Answered]:
    found = iter(model.likelihoods([("", option) for item in items for option in item.options]))
    answered = []
    for item in items:
        good, bad = next(found), next(found)
        is_right = good.logp_sum > bad.logp_sum
        columns = {
            "accuracy": (float(is_right), 1.0),
            "accuracy_per_token": (float(good.logp_sum / good.n_tokens > bad.logp_sum / bad.n_tokens), 1.0),
            "accuracy_per_byte": (float(good.logp_sum / good.n_bytes > bad.logp_sum / bad.n_bytes), 1.0),
        }
        details = {"logps": [good.logp_sum, bad.logp_sum], "n_tokens": [good.n_tokens, bad.n_tokens]}
        answered.append(Answered(item.options[0 if is_right else 1], columns, details))
    return answered


def baselines(items: Sequence[Item]) -> dict[str, float]:
    """What needs no model: drawing lots, and always taking the shorter sentence (a half where they are equal)."""
    lengths = [tuple(map(len, item.options)) for item in items]
    shorter = sum(0.5 if good == bad else float(good < bad) for good, bad in lengths) / len(items)
    return {"chance": 0.5, "shorter": shorter}
