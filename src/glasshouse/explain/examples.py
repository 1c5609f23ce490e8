"""The fine-tuning examples and preference labels nearest to an exchange, by the words they share (BM25).

Shapes: N examples, W words, P postings (one for each word of each example), Q words of the question.
The folder of an index: `examples.jsonl` (each as it was taught), `words.json`, `postings.npz`, and `index.json`,
written last.  Source: Robertson and Zaragoza, "The probabilistic relevance framework: BM25 and beyond" (2009).
Left out: meaning (a paraphrase without a shared word is not near), stemming.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from glasshouse.core.errors import DataError
from glasshouse.core.files import atomic_open, read_json, write_json
from glasshouse.core.records import Conversation, Message, Preference, Thumb

VERSION = 1
MANIFEST, EXAMPLES, WORDS, POSTINGS = "index.json", "examples.jsonl", "words.json", "postings.npz"
MAX_EXAMPLES = 50_000  # of one stage: an epoch after the other may ask the same in other words
SATURATION, LENGTH_SHARE = 1.2, 0.75  # k1 and b of the paper, at its usual values
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


@dataclass(frozen=True, slots=True)
class Example:
    """What was taught: an answer to imitate, or a better one and a worse one.  `source` says where it comes from."""

    stage: str
    source: str
    id: str
    prompt: str
    answer: str
    rejected: str | None = None

    @property
    def text(self) -> str:
        return f"{self.prompt}\n{self.answer}\n{self.rejected or ''}"


@dataclass(frozen=True, slots=True)
class Near:
    example: Example
    score: float  # BM25; comparable within one question alone


def example_of(record: Conversation | Preference | Thumb, stage: str, source: str) -> Example:
    """As the record teaches it.  A thumb up is an answer to imitate, one down an answer to avoid."""
    if isinstance(record, Conversation):
        *before, last = record.messages
        return Example(stage, source, record.id, _said(before), last.content)
    if isinstance(record, Preference):
        return Example(stage, source, record.id, _said(record.prompt), record.chosen, record.rejected)
    liked = record.is_good
    return Example(
        stage, source, record.id, _said(record.prompt), record.answer if liked else "", None if liked else record.answer
    )


def index_examples(examples: Iterable[Example], folder: Path) -> "ExampleIndex":
    """Index the first 50,000 different examples, anew.  Words are lower case; a dotted name is also its parts."""
    (folder / MANIFEST).unlink(missing_ok=True)
    distinct = islice({(e.prompt, e.answer, e.rejected): e for e in islice(examples, 4 * MAX_EXAMPLES)}.values(),
                      MAX_EXAMPLES)  # fmt: skip
    word_ids: dict[str, int] = {}
    columns: tuple[list[int], list[int], list[int]] = ([], [], [])  # word, example, how often
    lengths: list[int] = []
    starts = [0]
    with atomic_open(folder / EXAMPLES, "wb") as file:
        for number, example in enumerate(distinct):
            line = (json.dumps(asdict(example), ensure_ascii=False) + "\n").encode("utf-8", "replace")
            file.write(line)
            starts.append(starts[-1] + len(line))
            counted = Counter(words_of(example.text))
            lengths.append(counted.total())
            for word, count in counted.items():
                for column, value in zip(columns, (word_ids.setdefault(word, len(word_ids)), number, count)):
                    column.append(value)
    word_P, example_P, count_P = (np.asarray(column, np.int32) for column in columns)
    order_P = np.argsort(word_P, kind="stable")
    begin_W = np.searchsorted(word_P[order_P], np.arange(len(word_ids) + 1))
    with atomic_open(folder / POSTINGS, "wb") as file:
        np.savez(file, begin=begin_W, example=example_P[order_P], count=count_P[order_P],
                 length=np.asarray(lengths, np.int32), start=np.asarray(starts, np.int64))  # fmt: skip
    write_json(folder / WORDS, list(word_ids))
    write_json(folder / MANIFEST, {"version": VERSION, "n_examples": len(lengths), "n_bytes": starts[-1]})
    return ExampleIndex(folder)


class ExampleIndex:
    """An index of examples opened for questions."""

    def __init__(self, folder: Path) -> None:
        """Raises `DataError` where there is none, or it is damaged."""
        self.folder = folder
        if not (folder / MANIFEST).is_file():
            raise DataError(f"there is no index of examples in {folder}. Make it: glass index RUN")
        try:
            manifest = read_json(folder / MANIFEST)
            self.n_examples = int(manifest["n_examples"])
            if manifest["version"] != VERSION or (folder / EXAMPLES).stat().st_size != manifest["n_bytes"]:
                raise ValueError("not as its manifest says")
            self._word_ids = {word: id for id, word in enumerate(read_json(folder / WORDS))}
            with np.load(folder / POSTINGS, allow_pickle=False) as arrays:
                self._begin_W, self._example_P, self._count_P, self._length_N, self._start_N = (
                    arrays[name] for name in ("begin", "example", "count", "length", "start")
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the index of examples in {folder} is damaged ({error}). Delete it and make it again: "
                            "glass index RUN") from None  # fmt: skip

    def nearest(self, text: str, n: int = 5) -> list[Near]:
        """The `n` examples that share most with `text`, rare words counting most; none that shares no word."""
        scores_N = np.zeros(self.n_examples)
        for word in dict.fromkeys(words_of(text)):
            if (id := self._word_ids.get(word)) is not None:
                scores_N += self._scores_of(id)
        best = np.argsort(-scores_N, kind="stable")[:n]
        return [Near(self._read(int(i)), float(scores_N[i])) for i in best if scores_N[i] > 0]

    def _scores_of(self, word: int) -> Any:
        """[N] what one word adds to each example."""
        span = slice(int(self._begin_W[word]), int(self._begin_W[word + 1]))
        example_P, count_P = self._example_P[span], self._count_P[span].astype(float)
        rarity = np.log1p((self.n_examples - len(example_P) + 0.5) / (len(example_P) + 0.5))
        relative_P = self._length_N[example_P] / self._length_N.mean()
        damped_P = count_P + SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * relative_P)
        scores_N = np.zeros(self.n_examples)
        scores_N[example_P] = rarity * count_P * (SATURATION + 1) / damped_P
        return scores_N

    def _read(self, number: int) -> Example:
        start, stop = (int(at) for at in self._start_N[number : number + 2])
        with (self.folder / EXAMPLES).open("rb") as file:
            file.seek(start)
            return Example(**json.loads(file.read(stop - start)))


def words_of(text: str) -> list[str]:
    """`words_of("Call shutil.copy_tree")` -> `["call", "shutil", "copy", "tree"]`."""
    return WORD.findall(text.lower())


def _said(messages: Sequence[Message]) -> str:
    """One question stands by itself; more are told with who said them."""
    if len(messages) == 1:
        return messages[0].content
    return "\n".join(f"{message.role}: {message.content}" for message in messages)
