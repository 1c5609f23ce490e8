"""Question sets on disk: one JSON record a line, with the fields of `core.records.Question`.

{"id": "q17", "prompt": "Where is copytree?", "answers": ["shutil"], "kind": "module", "phrasing": "where", "name": "…"}
Only id, prompt and answers are needed; any other field is refused, so that a misspelt one is not lost.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from glasshouse.core.errors import DataError, suggest
from glasshouse.core.files import atomic_open
from glasshouse.core.records import Question
from glasshouse.core.seeds import python_random

FIELDS = tuple(f.name for f in fields(Question))
MADE_UP = "made_up"  # the kind whose right answer is a refusal; `made_up_pair` and the like are sorts of it


def is_made_up(kind: str) -> bool:
    return kind == MADE_UP or kind.startswith(MADE_UP + "_")


def write_questions(path: Path | str, questions: Iterable[Question]) -> None:
    with atomic_open(Path(path)) as file:
        for question in questions:
            file.write(json.dumps(asdict(question), ensure_ascii=False) + "\n")


def read_questions(path: Path | str) -> list[Question]:
    """All questions of a file; a faulty line raises `DataError` with its number and the fault."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file of questions")
    questions = list(_parsed(path))
    if not questions:
        raise DataError(f"{path}: holds no questions; each line is one JSON record with id, prompt and answers")
    return questions


def _parsed(path: Path) -> Iterator[Question]:
    first_line: dict[str, int] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                question = _question(json.loads(line))
            except (UnicodeDecodeError, json.JSONDecodeError) as error:
                raise DataError(f"{path}:{number}: not a JSON record: {error}") from None
            except DataError as error:
                raise DataError(f"{path}:{number}: {error}") from None
            if question.id in first_line:
                raise DataError(
                    f"{path}:{number}: id {question.id!r} is already used on line {first_line[question.id]}"
                )
            first_line[question.id] = number
            yield question


def _question(record: Any) -> Question:
    if not isinstance(record, Mapping):
        raise DataError(f"a question is a JSON object; got {str(record)[:60]!r}")
    for key in record:
        if key not in FIELDS:
            raise DataError(f'unknown field "{key}".{suggest(key, FIELDS)} Allowed: {", ".join(FIELDS)}.')
    for key in ("id", "prompt"):
        if not isinstance(record.get(key), str) or not record[key].strip():
            raise DataError(f'"{key}" must be a text that is not empty; got {record.get(key)!r}')
    answers = record.get("answers")
    if not isinstance(answers, list) or not all(isinstance(a, str) for a in answers):
        raise DataError(f'"answers" must be a list of texts; got {str(answers)[:60]!r}')
    if not answers and not is_made_up(str(record.get("kind"))):
        raise DataError(f'"answers" is empty; only questions of kind "{MADE_UP}" may leave it so')
    for key in ("kind", "phrasing", "name"):
        if key in record and not isinstance(record[key], str):
            raise DataError(f'"{key}" must be a text; got {record[key]!r}')
    return Question(**{**record, "answers": tuple(answers)})


def choose_questions(questions: Sequence[Question], n: int, seed: int = 0) -> list[Question]:
    """At most n questions, drawn so that every (kind, phrasing) keeps its share; in their original order."""
    if n >= len(questions):
        return list(questions)
    random = python_random(seed, "choose_questions")
    ranked: list[tuple[float, int]] = []
    for members in _strata(questions).values():
        random.shuffle(members)
        # The i-th of m members gets the rank (i + u) / m: the n lowest ranks take every stratum in proportion.
        ranked += [((i + random.random()) / len(members), index) for i, index in enumerate(members)]
    return [questions[index] for index in sorted(index for _, index in sorted(ranked)[:n])]


def _strata(questions: Sequence[Question]) -> dict[tuple[str, str], list[int]]:
    strata: dict[tuple[str, str], list[int]] = {}
    for index, question in enumerate(questions):
        strata.setdefault((question.kind, question.phrasing), []).append(index)
    return strata
