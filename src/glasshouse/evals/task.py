"""A task is a TOML file: its data, its prompt, how answers are scored, examples, controls.

    name = "sentiment"
    prompt = "Review: {text}\nIt was"
    [data]
    path = "sst2/dev.tsv"
    columns = ["text", "label"]
    [choices]
    texts = [" bad", " good"]
    right = "{label}"

Exactly one of the tables choices, pairs, answers and text says what is asked.  A file with [[task]] tables is a suite;
those that come with Glasshouse lie in `suites` and are named by their file.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from glasshouse.core.config import Config, parse_config, read_toml
from glasshouse.core.errors import ConfigError, suggest
from glasshouse.core.files import sha256_text
from glasshouse.corpus.questions import Library, evaluation_questions
from glasshouse.evals.data import Record, find_files, hash_files, join_lines, read_records
from glasshouse.evals.kinds.answers import AnswersConfig
from glasshouse.evals.kinds.choices import ChoicesConfig
from glasshouse.evals.kinds.pairs import PairsConfig
from glasshouse.evals.kinds.text import TextConfig
from glasshouse.evals.questions import read_questions

SUITES = Path(__file__).parent / "suites"
KINDS = ("choices", "pairs", "answers", "text")
CHOICE_METRICS = ("accuracy", "accuracy_per_token", "accuracy_per_byte")
Control = Literal["empty_question", "shuffled_options"]


class DataConfig(Config):
    path: str | None = (
        None  # below the data folder, or a pattern (each record has its file's stem as "file"); "stdlib:"
    )
    lines: dict[str, str] | None = None  # or: files whose lines belong together, by the name of their field
    columns: tuple[str, ...] = ()  # names for a table that has none
    where: dict[str, str | int | float | bool] = {}  # only records with these values

    @model_validator(mode="after")
    def _one_source(self) -> "DataConfig":
        if (self.path is None) == (self.lines is None):
            raise ValueError('give either "path" or "lines"')
        if self.lines is not None and self.columns:
            raise ValueError('"columns" belongs to "path"')
        return self


class ExamplesConfig(Config):
    """Solved items in front of every question; the same ones for all, but never an item itself."""

    n: int = Field(ge=1)
    data: DataConfig | None = None  # None: other items of the task's own data
    separator: str = "\n\n"  # between them, in a plain prompt
    seed: int = 0


class TaskConfig(Config):
    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$")
    about: str = ""
    data: DataConfig
    prompt: str = ""  # template; what the model is given before it answers
    chat: bool = False  # the prompt is a message, rendered by the model's chat template
    system: str | None = None  # a message before it
    choices: ChoicesConfig | None = None
    pairs: PairsConfig | None = None
    answers: AnswersConfig | None = None
    text: TextConfig | None = None
    metrics: tuple[str, ...] = ()  # those of the kind, the most telling first; empty: all
    examples: ExamplesConfig | None = None
    controls: tuple[Control, ...] = ()
    group_by: str | None = None  # field: scores for each of its values too
    unit: str | None = None  # field: items with the same value were not drawn independently
    limit: int | None = Field(default=None, ge=1)  # at most so many items, every group keeping its share
    seed: int = 0
    faulty: Literal["refuse", "skip"] = "refuse"  # records that cannot be asked: no answer, equal options
    too_long: Literal["refuse", "skip"] = "refuse"  # prompts beyond the model's context
    answer_in_prompt: Literal["refuse", "skip", "allow"] = "refuse"  # questions that give their answer away

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def metric_names(self) -> tuple[str, ...]:
        return self.metrics or self._metrics_of_kind()

    def _metrics_of_kind(self) -> tuple[str, ...]:
        if self.answers is not None:
            return self.answers.scorers
        if self.choices is not None:
            return (*CHOICE_METRICS, "macro_f1") if self.choices.texts else CHOICE_METRICS
        return ("accuracy",) if self.pairs is not None else ("bits_per_byte",)

    @model_validator(mode="after")
    def _is_whole(self) -> "TaskConfig":
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(
                f"a task has exactly one of the tables {', '.join(KINDS)}; got {', '.join(kinds) or 'none'}"
            )
        asks = kinds[0] in ("choices", "answers")
        given = {name for name in ("prompt", "chat", "system", "examples") if getattr(self, name)}
        if asks and "prompt" not in given and (self.answers or given):  # options may be whole texts, with no question
            raise ValueError('"prompt" is missing: what is the model asked?')
        if not asks and given:
            raise ValueError(f"{', '.join(sorted(given))}: whole texts have none; they belong to choices and answers")
        if self.system and not self.chat:
            raise ValueError('"system" needs chat = true')
        if self.controls and not asks:
            raise ValueError("controls belong to choices and answers")
        if "shuffled_options" in self.controls and not self.choices:
            raise ValueError("shuffled_options belongs to choices")
        self._check_metrics()
        return self

    def _check_metrics(self) -> None:
        allowed = self._metrics_of_kind()
        allowed = (*CHOICE_METRICS, "macro_f1") if self.choices else CHOICE_METRICS if self.pairs else allowed
        for name in self.metrics:
            if name not in allowed:
                raise ValueError(f"metric {name!r}.{suggest(name, allowed)} Allowed here: {', '.join(allowed)}")


@dataclass(frozen=True)
class Task:
    """A task and the folder its data is looked for in.  `source` is the file it was read from."""

    config: TaskConfig
    root: Path
    source: Path | None = None

    @property
    def name(self) -> str:
        return self.config.name

    @cached_property
    def hash(self) -> str:
        """Of all that decides what is asked and how it is scored, the data's contents included: results with the same
        hash may be compared."""
        config = self.config.model_dump_json(exclude={"about", "name"})
        contents = [hash_files(self.files), *(json.dumps(SOURCES[name]()) for name in self._sources)]
        return sha256_text("\n".join((config, *contents)))[:16]

    @property
    def _sources(self) -> list[str]:
        return [self.config.data.path] if self.config.data.path in SOURCES else []

    @property
    def files(self) -> list[Path]:
        examples = self.config.examples
        return _files(self.root, self.config.data) + (
            _files(self.root, examples.data) if examples and examples.data else []
        )

    def records(self) -> list[Record]:
        return _records(self.root, self.config.data)

    def example_records(self) -> list[Record] | None:
        """None: examples come from the task's own records."""
        examples = self.config.examples
        return _records(self.root, examples.data) if examples and examples.data else None

    def limited(self, limit: int | None) -> "Task":
        return self if limit is None else replace(self, config=self.config.model_copy(update={"limit": limit}))


def library_questions() -> list[Record]:
    """About the standard library of this interpreter, in phrasings no model is taught in; made-up names not among them
    (whether a model admits not to know is another question)."""
    questions = evaluation_questions(Library.introspect(), seed=0)
    return [asdict(q) for q in questions if q.kind in ("summary", "signature", "module")]


SOURCES: dict[str, Callable[[], list[Record]]] = {"stdlib:": library_questions}  # data that needs no file


def _files(root: Path, data: DataConfig) -> list[Path]:
    if data.path in SOURCES:
        return []
    if data.lines is not None:
        return [path for pattern in data.lines.values() for path in find_files(root, pattern)[:1]]
    return find_files(root, data.path or "")


def _records(root: Path, data: DataConfig) -> list[Record]:
    files = _files(root, data)
    if data.path in SOURCES:
        records = SOURCES[data.path]()
    elif data.lines is not None:
        records = join_lines(dict(zip(data.lines, files)))
    else:
        records = [{"file": path.name.split(".")[0], **r} for path in files for r in read_records(path, data.columns)]
    return [r for r in records if all(str(r.get(field)) == str(value) for field, value in data.where.items())]


# ---- reading task files ----------------------------------------------------------------------------------------------


def load_tasks(name: str | Path, root: Path | None = None) -> list[Task]:
    """The tasks of a file, or of a suite that comes with Glasshouse.

    `root` is the folder that data lies below; by default the file's own.
    """
    path = Path(name)
    if path.suffix == ".jsonl":
        return [questions_task(path)]
    built_in = SUITES / f"{name}.toml"
    if path.suffix != ".toml" and built_in.is_file():
        path = built_in
    if not path.is_file():
        raise ConfigError(
            f"{name}: no such task file, and no suite that comes with Glasshouse.{suggest(str(name), suite_names())} "
            f"There are: {', '.join(suite_names())}."
        )
    values, text = read_toml(path)
    entries = _entries(values, text)
    tasks = [Task(parse_config(TaskConfig, v, path, t), root or path.parent, path) for v, t in entries]
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"{path}: two tasks have one name: {', '.join(sorted(n for n in set(names) if names.count(n) > 1))}"
        )
    return tasks


def questions_task(path: Path) -> Task:
    """A file of questions (`read_questions`) as a task: asked in a chat, right where an answer is exactly that."""
    read_questions(path)  # its faults, with their lines
    config = TaskConfig(
        name=re.sub(r"[^\w.-]", "-", path.stem).strip("-.") or "questions", prompt="{prompt}", chat=True,
        data=DataConfig(path=path.name),
        answers=AnswersConfig(scorers=("exact", "normalised"), field="answers", stop=()),
    )  # fmt: skip
    return Task(config, path.parent, path)


def suite_names() -> list[str]:
    return sorted(path.stem for path in SUITES.glob("*.toml"))


def _entries(values: dict[str, Any], text: str) -> Sequence[tuple[dict[str, Any], str]]:
    """Each task's values, with its part of the text on the lines where it stands."""
    if not isinstance(values.get("task"), list):
        return [(values, text)]
    others = sorted(set(values) - {"task", "about"})
    if others:
        raise ConfigError(f'a suite holds [[task]] tables and "about"; got {", ".join(others)}')
    parts: list[str] = []
    for number, line in enumerate(text.splitlines()):
        if line.strip().replace(" ", "").startswith("[[task]]"):
            parts.append("\n" * (number + 1))
        elif parts:
            parts[-1] += line.replace("[task.", "[", 1) + "\n"
    return list(zip(values["task"], parts))
