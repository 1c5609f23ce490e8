"""Ways to misspell a name, so that a name can be almost one that exists; `UNSEEN_MISSPELLINGS` are never trained."""

import random
from collections.abc import Callable

Misspelling = Callable[[str, random.Random], str]
MISSPELLINGS: dict[str, Misspelling] = {
    "plural": lambda word, rng: word + "s",
    "shorter": lambda word, rng: word[:-1],
    "letters swapped": lambda word, rng: _swap_letters(word, rng),
    "letter dropped": lambda word, rng: _drop_letter(word, rng),
    "letter doubled": lambda word, rng: _double_letter(word, rng),
    "numbered": lambda word, rng: word + rng.choice("23"),
    "suffix": lambda word, rng: word + rng.choice(("_all", "_to", "er", "_from", "_file", "_list", "ed", "_ex")),
    "prefix": lambda word, rng: rng.choice(("get_", "is_", "re", "to_", "set_", "make_", "a", "x")) + word,
    "case": lambda word, rng: word.lower() if word != word.lower() else word.capitalize(),
}
UNSEEN_MISSPELLINGS: dict[str, Misspelling] = {
    "safe": lambda word, rng: word + "_safe",
    "un": lambda word, rng: "un" + word,
    "async": lambda word, rng: word + "_async",
    "letter replaced": lambda word, rng: _replace_letter(word, rng),
    "fast": lambda word, rng: "fast_" + word,
    "underscored": lambda word, rng: word[: len(word) // 2] + "_" + word[len(word) // 2 :],
}


def _swap_letters(word: str, rng: random.Random) -> str:
    at = rng.randrange(max(1, len(word) - 1))
    return word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :]


def _drop_letter(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word))
    return word[:at] + word[at + 1 :]


def _double_letter(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word))
    return word[: at + 1] + word[at:]


def _replace_letter(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word))
    return word[:at] + rng.choice("abcdefghiklmnoprstuvwy") + word[at + 1 :]
