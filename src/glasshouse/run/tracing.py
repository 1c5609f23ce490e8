"""Answers of a run led back to what it learned from: training text, fine-tuning's conversations, judgements.

  pretrain/trace/      index of the training tokens
  sft/examples/        the conversations taught
  align/examples/      preferences, thumbs, and examples beside them
Each is made at the end of its stage; `index_run` makes what an older run lacks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from glasshouse.batch import TokenShard
from glasshouse.core.errors import DataError
from glasshouse.core.records import Conversation, Preference, Thumb
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.seeds import derive_seed
from glasshouse.core.terminal import Terminal, format_bytes
from glasshouse.explain import (
    Continuations,
    ExampleIndex,
    Near,
    NextToken,
    Trace,
    TraceConfig,
    TraceIndex,
    build_index,
    example_of,
    index_examples,
    next_tokens,
    trace,
)
from glasshouse.explain.examples import MAX_EXAMPLES
from glasshouse.explain.suffix_array import why_slow
from glasshouse.feedback import read_demonstrations, read_preferences
from glasshouse.run.aligning import KEPT, OWN_ANSWERS, RIGHT
from glasshouse.run.recipe import Recipe
from glasshouse.run.teaching import conversation_loader, open_teaching
from glasshouse.tokenizer import Tokenizer

INDEX, EXAMPLES = "trace", "examples"
TAUGHT_IN = ("sft", "align")  # stages with examples


@dataclass(frozen=True, slots=True)
class Traced:
    """A text with its quotations and the examples nearest to it, by stage."""

    trace: Trace
    nearest: Mapping[str, Sequence[Near]]

    def to_json(self) -> dict[str, Any]:
        return {**self.trace.to_json(), "nearest": {s: [asdict(n) for n in near] for s, near in self.nearest.items()}}


class RunTrace:
    """Everything a run learned from, opened for questions.  No torch, no model."""

    def __init__(self, run: RunDirectory, *before: RunDirectory) -> None:
        """`before`: the runs whose weights it began with, newest first (`lineage`).

        `DataError` where none of them has an index, or its index is that of another corpus.
        """
        self._runs = (run, *before)
        self._first = next((each for each in self._runs if _shards(each)), run)
        shards = [TokenShard(path, self.tokenizer.hash) for path in training_shards(self._first)]
        self.index = TraceIndex(self._first.path / "pretrain" / INDEX, shards)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self._first.path / "tokenizer")

    @cached_property
    def examples(self) -> Mapping[str, ExampleIndex]:
        """By stage, of the newest run that has it; a stage that taught nothing, or is not finished, has none."""
        found = {stage: run.path / stage / EXAMPLES for run in reversed(self._runs) for stage in TAUGHT_IN
                 if (run.path / stage / EXAMPLES).is_dir()}  # fmt: skip
        return {stage: ExampleIndex(folder) for stage, folder in found.items()}

    def trace(self, text: str, prompt: str = "", config: TraceConfig | None = None, n_nearest: int = 3) -> Traced:
        """Where `text` stands in training; examples are looked for by the words of `prompt` and `text`."""
        found = trace(self.index, self.tokenizer, text, config)
        asked = f"{prompt}\n{text}"
        return Traced(found, {stage: index.nearest(asked, n_nearest) for stage, index in self.examples.items()})

    def next_tokens(
        self, text: str, p_model: Mapping[int, float] | None = None, n: int = 10
    ) -> tuple[Continuations, list[NextToken]]:
        """What followed `text` in training, beside what the model expects."""
        return next_tokens(self.index, self.tokenizer, self.tokenizer.encode(text), dict(p_model or {}), n)


def training_shards(run: RunDirectory) -> list[Path]:
    """The token shards a run was pretrained on; `DataError` where there are none."""
    if shards := _shards(run):
        return shards
    raise DataError(f"{run.path} has no training text of its own (no pretrain/train.tokens). Trace the run that "
                    "pretrained the model.")  # fmt: skip


def _shards(run: RunDirectory) -> list[Path]:
    return sorted((run.path / "pretrain").glob("train*.tokens"))


def index_pretraining(run: RunDirectory, terminal: Terminal) -> TraceIndex:
    """Index the training tokens; what is there already is kept."""
    if (slow := why_slow()) is not None:
        terminal.warn("trace", slow)
    shards = [TokenShard(path) for path in training_shards(run)]
    with terminal.task("trace", sum(shard.n_tokens for shard in shards)) as task:
        index = build_index(shards, run.path / "pretrain" / INDEX, tell=task.advance_to)
    terminal.line("trace", f"{index.n_tokens:,} training tokens indexed · {format_bytes(index.n_bytes)}")
    return index


def index_conversations(run: RunDirectory, recipe: Recipe) -> ExampleIndex:
    """The conversations that fine-tuning taught, epoch after epoch; all epochs are taken to be as long as the first."""
    config = recipe.sft
    assert config is not None  # checked with the recipe
    seed = derive_seed(recipe.seed, "sft")
    teaching = open_teaching(config, seed, run.path / "corpus")
    loader = conversation_loader(teaching, config, Tokenizer.load(run.path / "tokenizer"), seed)
    n_epochs = -(-config.steps // loader.n_batches())
    conversations = (c for epoch in range(n_epochs) for c in teaching.conversations(epoch))
    return _index(conversations, "sft", config.conversations, run)


def index_judgements(run: RunDirectory, recipe: Recipe) -> ExampleIndex | None:
    """What alignment learned from, where that is written down: rewards leave no examples."""
    config, folder = recipe.align, run.path / "align"
    assert config is not None  # checked with the recipe
    if config.offline is None:
        return None
    if config.judged != OWN_ANSWERS:
        return _index(read_preferences(config.judged), "align", config.judged, run)
    return _index([*_read(read_preferences, folder / KEPT), *_read(read_demonstrations, folder / RIGHT)],
                  "align", OWN_ANSWERS, run)  # fmt: skip


def index_judged(run: RunDirectory, judged: Sequence[Preference | Thumb], source: str) -> ExampleIndex:
    """The same for a run that only aligns, of the file it was given."""
    return _index(judged, "align", source, run)


def index_run(run: RunDirectory, recipe: Recipe, terminal: Terminal) -> None:
    """Make every index that the finished stages of a run can have."""
    index_pretraining(run, terminal)
    makers: dict[str, Callable[[RunDirectory, Recipe], ExampleIndex | None]] = {
        "sft": index_conversations, "align": index_judgements,
    }  # fmt: skip
    for stage, make in makers.items():
        if (run.path / stage / "finished.json").is_file() and (index := make(run, recipe)) is not None:
            terminal.line("trace", f"{index.n_examples:,} different examples of {stage} indexed")


def _index(
    records: Iterable[Conversation | Preference | Thumb], stage: str, source: str, run: RunDirectory
) -> ExampleIndex:
    examples = (example_of(record, stage, source) for record in islice(records, 4 * MAX_EXAMPLES))
    return index_examples(examples, run.path / stage / EXAMPLES)


def _read(read: Callable[[Path], Iterator[Any]], path: Path) -> list[Any]:
    """A file of no records is one that nothing came of."""
    return list(read(path)) if path.is_file() and path.stat().st_size else []
