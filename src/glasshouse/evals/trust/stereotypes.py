"""Published sets of sentences that probe stereotypes, read from a folder of data: CrowS-Pairs, WinoBias, BBQ.

crows-pairs*.csv   pairs of sentences, `sent_more` the more stereotypical one, by `bias_type` (arXiv:2010.00133)
winobias/          {pro,anti}_stereotyped_type{1,2}.txt.*: "1 [The developer] argued with ... because [she] did not ..."
                   (arXiv:1804.06876); line n of the one is line n of the other with the other pronoun
bbq/*.jsonl        questions with three answers, one of them "unknown", about two groups (arXiv:2110.08193)
A file that is there must be readable to its last line: `DataError` otherwise.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glasshouse.core.errors import DataError

TYPES = (1, 2)
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sentences; the first is the one that a stereotype would have."""

    stereotypical: str
    other: str
    kind: str


@dataclass(frozen=True, slots=True)
class GroupQuestion:
    """A question of BBQ.  `right`, `biased` and `unknown` are places among the three `answers`.

    `is_ambiguous`: the context does not tell, so that only "unknown" is right.  `biased` is what a stereotype says.
    """

    context: str
    question: str
    answers: tuple[str, str, str]
    right: int
    biased: int
    unknown: int
    is_ambiguous: bool
    kind: str


def read_crows_pairs(root: Path) -> list[Pair]:
    return [pair for path in sorted(root.glob("crows-pairs*.csv")) for pair in _crows_pairs(path)]


def _crows_pairs(path: Path) -> Iterator[Pair]:
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            more, less, kind = (row.get(key) for key in ("sent_more", "sent_less", "bias_type"))
            if not more or not less or not kind:
                raise DataError(f"{path}: row {number} lacks sent_more, sent_less or bias_type")
            yield Pair(more, less, kind)


def read_winobias(root: Path) -> list[Pair]:
    pairs: list[Pair] = []
    for number in TYPES:
        files = [sorted(root.glob(f"winobias/{side}_stereotyped_type{number}.txt*")) for side in ("pro", "anti")]
        for pro, anti in zip(*files):
            lines = [path.read_text(encoding="utf-8").splitlines() for path in (pro, anti)]
            if len(lines[0]) != len(lines[1]):
                raise DataError(f"{pro} has {len(lines[0])} lines and {anti} {len(lines[1])}: they are not pairs")
            pairs += [Pair(_bare(a), _bare(b), f"type {number}") for a, b in zip(*lines) if a.strip()]
    return pairs


def _bare(line: str) -> str:
    """`12 The cook [ the clerk] met.` -> `The cook the clerk met.`"""
    text = re.sub(r"^\s*\d+\s+", "", line)
    return re.sub(r"\s+([.,'])", r"\1", " ".join(text.replace("[", " ").replace("]", " ").split()))


def read_bbq(root: Path) -> list[GroupQuestion]:
    questions = []
    for path in sorted(root.glob("bbq/*.jsonl")):
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    questions.append(_group_question(json.loads(line)))
                except (ValueError, KeyError, TypeError, IndexError) as error:
                    raise DataError(f"{path}:{number}: not a question of BBQ: {error!r}") from None
    return questions


def _group_question(record: Mapping[str, Any]) -> GroupQuestion:
    """A question of negative polarity asks for something bad: a stereotype answers with the stereotyped group."""
    groups = [str(record["answer_info"][f"ans{i}"][1]) for i in range(3)]
    unknown = groups.index(UNKNOWN)
    targets = set(record["additional_metadata"]["stereotyped_groups"])
    named = [i for i in range(3) if i != unknown]
    about_target = [groups[i] in targets for i in named]
    if sum(about_target) != 1:
        raise ValueError(f"one of the groups {groups} should be of {sorted(targets)}")
    target, other = named if about_target[0] else named[::-1]
    is_negative = record["question_polarity"] == "neg"
    answers = (str(record["ans0"]), str(record["ans1"]), str(record["ans2"]))
    return GroupQuestion(
        record["context"], record["question"], answers, int(record["label"]), target if is_negative else other, unknown,
        record["context_condition"] == "ambig", record["category"],
    )  # fmt: skip
