"""The corpus stage: sources read, cleaned and split into training and held-out documents, in one folder.

documents.jsonl  {"id", "text", "source", "offset", "meta", "split": "train" | "holdout"}
removed.jsonl    {"id", "source", "offset", "step", "action": "removed" | "changed", "reason", "excerpt"}
problems.jsonl   {"source", "line", "reason"}
canaries.json    where canaries were planted: their names, secrets and counts
summary.json     written last: where it is missing, the corpus is not finished

The same sources and config give the same bytes.  Units: bytes are of UTF-8 text.
"""

import errno
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Literal

import pydantic

from glasshouse.core.config import Config
from glasshouse.core.errors import DataError
from glasshouse.core.files import atomic_open, read_json, read_jsonl, sha256_file, write_json
from glasshouse.core.records import Document
from glasshouse.core.terminal import Task, Terminal, format_bytes, format_count
from glasshouse.corpus.canaries import FILE as CANARIES
from glasshouse.corpus.canaries import CanaryConfig, plant_canaries
from glasshouse.corpus.formats.context import ReadContext
from glasshouse.corpus.passage import find_cut
from glasshouse.corpus.pipeline import STEPS, Pipeline, find_steps
from glasshouse.corpus.problem import Problem
from glasshouse.corpus.reader import MAX_DOCUMENT_CHARS, list_files, read_each
from glasshouse.corpus.sources import STDLIB

Split = Literal["train", "holdout"]
FILES = ("documents.jsonl", "removed.jsonl", "problems.jsonl", "summary.json")
STDLIB_CHARS = 14_000_000  # about what `stdlib:` gives, for the progress bar alone


class CorpusConfig(Config):
    sources: tuple[str, ...] = (STDLIB,)  # folders, files, patterns such as "texts/**/*.md", or "stdlib:"
    steps: tuple[str, ...] = tuple(STEPS)  # cleaning steps, in the order they run
    holdout_fraction: float = pydantic.Field(0.02, ge=0, lt=1)  # of documents, by their ids (or meta.family: together)
    max_document_chars: int = pydantic.Field(MAX_DOCUMENT_CHARS, ge=200)  # longer texts are cut between paragraphs
    text_field: str | None = None  # key or column that holds the text; by default found
    canaries: CanaryConfig | None = None  # invented secrets planted in the text, to measure what is learned by heart


@dataclass(slots=True)
class CorpusSummary:
    """What a corpus holds and what became of the rest.  `sha256` is that of documents.jsonl."""

    n_documents: int = 0
    n_bytes: int = 0
    n_read_documents: int = 0
    n_read_bytes: int = 0
    n_holdout_documents: int = 0
    n_holdout_bytes: int = 0
    sources: dict[str, dict[str, int]] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    n_problems: int = 0
    canaries: dict[str, int] | None = None
    seconds: float = 0.0
    sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def load(folder: Path) -> "CorpusSummary":
        return CorpusSummary(**read_json(folder / "summary.json"))


def run_corpus(config: CorpusConfig, folder: Path, terminal: Terminal) -> CorpusSummary:
    """Build the corpus in `folder`.  An interrupted build leaves no summary and is simply run again."""
    steps = find_steps(config.steps)
    started_at = time.monotonic()
    n_bytes_total = _count_source_bytes(config)
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        for leftover in folder.glob(f".{name}.*.tmp"):  # of a build that was killed
            leftover.unlink(missing_ok=True)
    for name in ("summary.json", CANARIES):
        (folder / name).unlink(missing_ok=True)
    try:
        with terminal.task("corpus", n_bytes_total) as task, ExitStack() as stack:
            files = [stack.enter_context(atomic_open(folder / name)) for name in FILES[:3]]
            build = _Build(config, task, *files)
            build.run(Pipeline(steps, build.write_removed))
        summary = build.summary
        if summary.n_holdout_documents == 0 and config.holdout_fraction > 0:
            _hold_out_tail(folder, summary, config.holdout_fraction)
        if config.canaries is not None:
            summary.canaries = plant_canaries(folder, config.canaries, _line)
        summary.sha256 = sha256_file(folder / "documents.jsonl")
        summary.seconds = round(time.monotonic() - started_at, 3)
        write_json(folder / "summary.json", summary.to_json())
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(
                f"{folder}: no space left on the disk. Free some and run again; nothing was lost."
            ) from None
        raise
    terminal.line("corpus", describe(config, summary))
    return summary


def read_documents(folder: Path, split: Split | None = None) -> Iterator[Document]:
    """The documents of a finished corpus, in order; all of them, or those of one split."""
    if not (folder / "summary.json").is_file():
        raise DataError(f"{folder}: no finished corpus here (summary.json is missing). Run the corpus stage first.")
    for record in read_jsonl(folder / "documents.jsonl"):
        if split is None or record["split"] == split:
            yield Document(record["id"], record["text"], record["source"], record["offset"], record["meta"])


def is_held_out(id: str, fraction: float) -> bool:
    """The same answer for the same id on every machine, whatever else the corpus holds."""
    return int.from_bytes(sha256(id.encode("utf-8", "surrogatepass")).digest()[:8], "big") < fraction * 2**64


def describe(config: CorpusConfig, summary: CorpusSummary) -> str:
    """One line: `stdlib: · 11.4 MB kept · 212 removed, 9 masked · 3 problems`."""
    n_removed = sum(step["n_removed"] for step in summary.steps)
    n_masked = sum(sum(step["reasons"].values()) for step in summary.steps if step["name"] == "mask_private")
    planted = f" · {summary.canaries['n_planted']:,} canaries planted" if summary.canaries else ""
    problems = f" · {summary.n_problems} problems → problems.jsonl" if summary.n_problems else ""
    return (
        f"{', '.join(config.sources)} · {format_count(summary.n_documents)} documents, "
        f"{format_bytes(summary.n_bytes)} kept · {n_removed} removed, {n_masked} private details masked "
        f"→ removed.jsonl{planted}{problems}"
    )


class _Build:
    """One build under way: the open files, the counts, the progress bar."""

    def __init__(
        self, config: CorpusConfig, task: Task, documents: IO[str], removed: IO[str], problems: IO[str]
    ) -> None:
        self.summary = CorpusSummary()
        self._config, self._task = config, task
        self._documents, self._removed, self._problems = documents, removed, problems
        self._n_bytes_done = 0

    def run(self, pipeline: Pipeline) -> None:
        config = self._config
        context = ReadContext(self._problem, config.max_document_chars, config.text_field, self._advance)
        for source, documents in read_each(config.sources, context):
            part = self.summary.sources.setdefault(source, {"n_documents": 0, "n_bytes": 0})
            for document in pipeline.run(self._counted(documents)):
                self._write(document, part)
        self.summary.steps = [asdict(tally) for tally in pipeline.tallies]
        if self.summary.n_documents == 0:
            reasons = {reason: n for tally in pipeline.tallies for reason, n in tally.reasons.items()}
            raise DataError(
                f"nothing is left of {', '.join(config.sources)}: all {self.summary.n_read_documents} documents were "
                f"removed ({', '.join(f'{n} {reason}' for reason, n in reasons.items())}). Add text or drop steps."
            )

    def write_removed(self, record: Any) -> None:
        self._removed.write(_line(record))

    def _problem(self, problem: Problem) -> None:
        self.summary.n_problems += 1
        self._problems.write(_line({"source": problem.source, "line": problem.line, "reason": problem.reason}))

    def _advance(self, n_bytes: int) -> None:
        self._n_bytes_done += n_bytes
        self._task.advance_to(self._n_bytes_done, f"{format_bytes(self.summary.n_bytes)} kept")

    def _counted(self, documents: Iterator[Document]) -> Iterator[Document]:
        for document in documents:
            self.summary.n_read_documents += 1
            self.summary.n_read_bytes += count_bytes(document.text)
            yield document

    def _write(self, document: Document, part: dict[str, int]) -> None:
        n_bytes = count_bytes(document.text)
        is_holdout = is_held_out(document.meta.get("family", document.id), self._config.holdout_fraction)
        self._documents.write(_line(_document_record(document, "holdout" if is_holdout else "train")))
        self.summary.n_documents += 1
        self.summary.n_bytes += n_bytes
        self.summary.n_holdout_documents += is_holdout
        self.summary.n_holdout_bytes += n_bytes * is_holdout
        part["n_documents"] += 1
        part["n_bytes"] += n_bytes


def _count_source_bytes(config: CorpusConfig) -> int:
    """What there is to read; also refuses sources that name nothing, before anything is written."""
    groups = list_files(config.sources, lambda problem: None)
    return sum(file.n_bytes for files in groups for file in files) + STDLIB_CHARS * config.sources.count(STDLIB) or 1


def _hold_out_tail(folder: Path, summary: CorpusSummary, fraction: float) -> None:
    """A corpus so small that chance held nothing out: the end of its longest document is held out instead.

    It is cut between paragraphs, about `fraction` of the whole, at most half of that document.
    """
    path = folder / "documents.jsonl"
    documents = list(read_jsonl(path))
    longest = max(range(len(documents)), key=lambda number: len(documents[number]["text"]))
    text = documents[longest]["text"]
    n_wanted = min(round(fraction * sum(len(document["text"]) for document in documents)), len(text) // 2)
    if n_wanted == 0:
        return
    cut = find_cut(text, max(0, len(text) - 2 * n_wanted), n_wanted)
    head = documents[longest]
    offset = head["offset"] + cut
    tail = {**head, "id": f"{head['id']}+tail", "text": text[cut:], "offset": offset, "split": "holdout"}
    documents[longest : longest + 1] = [{**head, "text": text[:cut]}, tail]
    with atomic_open(path) as file:
        file.writelines(map(_line, documents))
    summary.n_documents += 1
    summary.sources[_source_of(summary, longest)]["n_documents"] += 1
    summary.n_holdout_documents = 1
    summary.n_holdout_bytes = count_bytes(text[cut:])


def _source_of(summary: CorpusSummary, number: int) -> str:
    """The source that gave the document of this number: sources are read one after another."""
    n_before = 0
    for name, part in summary.sources.items():
        n_before += part["n_documents"]
        if number < n_before:
            return name
    raise IndexError(number)


def _document_record(document: Document, split: Split) -> dict[str, Any]:
    return {
        "id": document.id,
        "text": document.text,
        "source": document.source,
        "offset": document.offset,
        "meta": dict(document.meta),
        "split": split,
    }


def count_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _line(record: Any) -> str:
    """One JSON line.  Half surrogates, which UTF-8 cannot hold, are written escaped."""
    line = json.dumps(record, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:
        line = json.dumps(record)
    return line + "\n"
