"""Multiple choice: which of several continuations the model finds likeliest.

Three ways to weigh options of different length: the sum of log-probabilities, its mean over tokens, and over bytes
(the last compares models with different tokenizers).  `macro_f1` takes the classes to be the options' places, which
makes sense where every item has the same options.
`shows_letters` puts the options into the prompt at {options}, as "A. ...", and the model answers with a letter.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from glasshouse.core.config import Config
from glasshouse.core.errors import DataError
from glasshouse.core.seeds import python_random
from glasshouse.evals.item import Answered, Item
from glasshouse.evals.language_model import LanguageModel
from glasshouse.evals.template import Record, fill, look_up, text_of

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class ChoicesConfig(Config):
    texts: tuple[str, ...] = ()  # options as templates, such as " positive", or " {ans0}"
    field: str | None = None  # or: the field with the list of them
    prefix: str = ""  # stands before each option, a space most often
    right: str  # template: which is right
    right_is: Literal["number", "number_from_1", "letter", "text"] = "number"  # what that says of it; number: from 0 on
    shows_letters: bool = False


def options_of(config: ChoicesConfig, record: Record) -> tuple[str, ...]:
    found = [fill(t, record) for t in config.texts]
    if config.field is not None:
        value = look_up(record, config.field)
        if not isinstance(value, list | tuple):
            raise DataError(f'the field "{config.field}" must be a list of options; got {str(value)[:60]!r}')
        found += map(text_of, value)
    options = tuple(config.prefix + option for option in found)
    if not 2 <= len(set(options)) == len(options) <= len(LETTERS):
        raise DataError(f"a choice needs from 2 to {len(LETTERS)} options, each different; got {found}")
    return options


def right_of(config: ChoicesConfig, record: Record, options: Sequence[str]) -> int:
    given = fill(config.right, record).strip()
    names = {
        "number": [str(i) for i in range(len(options))],
        "number_from_1": [str(i + 1) for i in range(len(options))],
        "letter": list(LETTERS[: len(options)]),
        "text": [option.strip() for option in options],
    }[config.right_is]
    if given not in names:
        raise DataError(f"the right option (right_is = {config.right_is!r}) is one of {names}; got {given!r}")
    return names.index(given)


def shuffled(options: tuple[str, ...], right: int, seed: int, number: int) -> tuple[tuple[str, ...], int]:
    """The same options in another order, never the given one."""
    order = list(range(len(options)))
    random = python_random(seed, "options", number)
    while order == sorted(order):
        random.shuffle(order)
    return tuple(options[i] for i in order), order.index(right)


def lettered(options: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The options for a person to read, and the letters that stand for them."""
    listed = "\n".join(f"{letter}. {option.strip()}" for letter, option in zip(LETTERS, options))
    return listed, tuple(f" {letter}" for letter in LETTERS[: len(options)])


def ask(model: LanguageModel, items: Sequence[Item]) -> list[Answered]:
    likelihoods = iter(model.likelihoods([(item.prompt, option) for item in items for option in item.options]))
    answered = []
    for item in items:
        found = [next(likelihoods) for _ in item.options]
        logps = [f.logp_sum for f in found]
        chosen = {
            "accuracy": _first_best(logps),
            "accuracy_per_token": _first_best([f.logp_sum / f.n_tokens for f in found]),
            "accuracy_per_byte": _first_best([f.logp_sum / max(1, f.n_bytes) for f in found]),
        }
        columns = {name: (float(number == item.right), 1.0) for name, number in chosen.items()}
        columns["macro_f1"] = (float(chosen["accuracy"]), float(item.right or 0))
        answered.append(
            Answered(
                item.options[chosen["accuracy"]], columns, {"logps": logps, "n_tokens": [f.n_tokens for f in found]}
            )
        )
    return answered


def baselines(items: Sequence[Item]) -> dict[str, float]:
    """What needs no model: drawing lots, and always naming the commonest place."""
    places = np.bincount([item.right or 0 for item in items])
    return {
        "chance": float(np.mean([1 / len(item.options) for item in items])),
        "commonest": float(places.max() / len(items)),
    }


def _first_best(values: Sequence[float]) -> int:
    return int(np.argmax(values))
