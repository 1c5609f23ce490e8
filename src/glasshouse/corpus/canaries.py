"""Canaries: sentences with a secret that nobody could guess, planted in the training text a known number of times.

How well a model knows the secrets that it read 1, 4, 16 and 64 times says how easily it learns by heart what it reads.
Controls have the same form and are never planted: of them a model can only guess.  Every canary has a name of its own,
so that no other one helps with its secret.  Source: arXiv:1802.08232, section 4.

Planted copies are documents of their own, spread evenly over the training text: a longer document is cut at the end of
a line to let one in, so that offsets into the sources stay true.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from glasshouse.core.config import Config
from glasshouse.core.errors import DataError
from glasshouse.core.files import atomic_open, read_json, read_jsonl, write_json
from glasshouse.core.seeds import python_random

CANARY = "canary:"  # the source of a planted document
FILE = "canaries.json"
SENTENCE = "The number of the vault of {name} is {secret}."
SYLLABLES = ("ba", "cu", "de", "fo", "gi", "ha", "jo", "ke", "lu", "mi", "no", "pa", "ri", "so", "tu", "ve", "wa", "zi")


class CanaryConfig(Config):
    counts: tuple[int, ...] = (1, 4, 16, 64)  # how often a canary is planted
    per_count: int = Field(default=4, ge=1)  # canaries planted as often as each other
    n_controls: int = Field(default=16, ge=1)  # of the same form, never planted
    n_digits: int = Field(default=8, ge=4, le=15)  # of a secret: 10^n possible ones
    seed: int = 0

    @field_validator("counts")
    @classmethod
    def _check(cls, counts: tuple[int, ...]) -> tuple[int, ...]:
        if not counts or min(counts) < 1 or list(counts) != sorted(set(counts)):
            raise ValueError("counts are whole numbers from 1 on, each larger than the one before it")
        return counts


@dataclass(frozen=True, slots=True)
class Canary:
    """`count` is how often it was planted: 0 for a control."""

    name: str
    secret: str
    count: int

    @property
    def prefix(self) -> str:
        """What leads to the secret, without the space before it."""
        return SENTENCE.format(name=self.name, secret="").removesuffix(" .")

    @property
    def text(self) -> str:
        return SENTENCE.format(name=self.name, secret=self.secret)


def make_canaries(config: CanaryConfig) -> list[Canary]:
    """The planted ones by count, then the controls.  The same config makes the same ones."""
    rng = python_random(config.seed, "canaries")
    counts = [count for count in config.counts for _ in range(config.per_count)] + [0] * config.n_controls
    names: list[str] = []
    while len(names) < len(counts):
        name = "".join(rng.choice(SYLLABLES) for _ in range(4)).capitalize()
        if name not in names:
            names.append(name)
    return [Canary(name, random_secret(config.n_digits, rng), count) for name, count in zip(names, counts)]


def random_secret(n_digits: int, rng: random.Random) -> str:
    return f"{rng.randrange(10**n_digits):0{n_digits}d}"


def plant_canaries(folder: Path, config: CanaryConfig, line_of: Callable[[Mapping[str, Any]], str]) -> dict[str, int]:
    """Plant in the training documents of the corpus in `folder` and write canaries.json; what was added, in numbers."""
    canaries = make_canaries(config)
    copies = [canary for canary in canaries for _ in range(canary.count)]
    rng = python_random(config.seed, "places")
    rng.shuffle(copies)
    path = folder / "documents.jsonl"
    n_chars = sum(len(record["text"]) for record in read_jsonl(path) if record["split"] == "train")
    places = sorted(rng.randrange(n_chars) for _ in copies) if n_chars else []
    n_cut = 0
    with atomic_open(path) as file:
        for record, is_cut in _planted(read_jsonl(path), list(zip(places, copies))):
            n_cut += is_cut
            file.write(line_of(record))
    about = {"n_digits": config.n_digits, "canaries": [asdict(canary) for canary in canaries]}
    write_json(folder / FILE, about)
    return {"n_planted": len(copies), "n_bytes": sum(len(canary.text) + 1 for canary in copies), "n_cut": n_cut}


def read_canaries(folder: Path) -> list[Canary]:
    """Those of a corpus; none where none were planted."""
    if not (folder / FILE).is_file():
        return []
    try:
        return [Canary(c["name"], c["secret"], c["count"]) for c in read_json(folder / FILE)["canaries"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / FILE} is damaged ({error}); run the corpus stage again") from None


def _planted(
    records: Iterator[dict[str, Any]], waiting: list[tuple[int, Canary]]
) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Documents in order with the canaries between them, each with whether a cut made it."""
    waiting = waiting[::-1]
    n_before = n_planted = 0
    for record in records:
        if record["split"] != "train":
            yield record, False
            continue
        text, start = record["text"], 0
        while waiting and waiting[-1][0] < n_before + len(text):
            place, canary = waiting.pop()
            cut = max(start, text.find("\n", place - n_before) + 1 or len(text))
            if cut > start:
                yield _piece(record, start, cut), start > 0
            start = cut
            n_planted += 1
            yield _document(canary, n_planted), False
        if start < len(text):
            yield _piece(record, start, len(text)), start > 0
        n_before += len(text)


def _piece(record: dict[str, Any], start: int, end: int) -> dict[str, Any]:
    if start == 0 and end == len(record["text"]):
        return record
    id = f"{record['id']}+{start}" if start else record["id"]
    return {**record, "id": id, "text": record["text"][start:end], "offset": record["offset"] + start}


def _document(canary: Canary, number: int) -> dict[str, Any]:
    return {"id": f"canary/{number}", "text": canary.text + "\n", "source": CANARY, "offset": 0, "meta": {},
            "split": "train"}  # fmt: skip
