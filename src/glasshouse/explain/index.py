"""An index of the training tokens: where any sequence of them stands, and how often.

The folder of an index:
  part-00000.order ...   the sorted suffixes of one part of one shard, int32
  frequencies            how often each id occurs, uint64
  index.json             which shards (hash, size), which tokenizer, how they were cut; written last: without it there
                         is no index.  `building.json` is the same while parts are being sorted, to go on with.
A part holds whole documents and sees OVERLAP ids beyond itself.  Every document begins and ends with <|endoftext|>, so
a sequence without that id never crosses documents; one with it inside does, and is counted up to OVERLAP ids long.
Units: tokens.  Four bytes of disk a token and eight an id of the vocabulary, beside the shard itself.
Source: infini-gram, arXiv:2401.17377.
Left out: compression (FM-index: two bytes a token, about a hundred times slower), changes of a corpus in place.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from glasshouse.batch import TokenShard
from glasshouse.core.environment import n_threads_asked
from glasshouse.core.errors import DataError
from glasshouse.core.files import atomic_open, read_json, sha256_file, write_json
from glasshouse.explain.suffix_array import sort_suffixes
from glasshouse.explain.suffix_search import Found, Ints, SortedText

VERSION = 1
MANIFEST, UNFINISHED, FREQUENCIES = "index.json", "building.json", "frequencies"
PART_TOKENS = 1 << 26  # 0.8 GB while one is sorted; fewer parts make faster questions
OVERLAP = 256
MAX_LOOKED_AT = 4096  # places of one passage that are sorted to tell the first


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens `[start, stop)` of shard `shard`."""

    shard: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Occurrences:
    """How often a passage stands in training, and the first places: (shard, token)."""

    count: int
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Continuations:
    """What came next in training after the longest end of a text that occurs there (infini-gram).

    `context` ids of that text's end, which occur `count` times; `count_V[id]` of these are followed by `id`.
    """

    context: int
    count: int
    count_V: Ints

    def p(self, id: int) -> float:
        return float(self.count_V[id] / self.count_V.sum()) if self.count_V.any() else 0.0


def build_index(
    shards: Sequence[TokenShard], folder: Path, *, part_tokens: int = PART_TOKENS,
    tell: Callable[[int], None] = lambda n_tokens: None,
) -> "TraceIndex":  # fmt: skip
    """Index `shards`, or go on with what an interrupted call left; an index that is there and fits is opened.

    `tell(n_tokens)` hears how many tokens are done.  Raises `DataError` for shards of different tokenizers.
    """
    if len({shard.tokenizer_hash for shard in shards}) > 1:
        raise DataError("the shards of one index must have one tokenizer; encode the text again with one")
    parts = [part for number, shard in enumerate(shards) for part in _cut(shard, number, part_tokens)]
    manifest = {
        "version": VERSION,
        "tokenizer_hash": shards[0].tokenizer_hash if shards else None,
        "n_tokens": sum(shard.n_tokens for shard in shards),
        "overlap": OVERLAP,
        "shards": [_identity(shard.path) for shard in shards],
        "parts": [asdict(part) for part in parts],
    }
    if (folder / MANIFEST).is_file() and _content(read_json(folder / MANIFEST)) == _content(manifest):
        return TraceIndex(folder, shards)
    if not (folder / UNFINISHED).is_file() or _content(read_json(folder / UNFINISHED)) != _content(manifest):
        _clear(folder)
        write_json(folder / UNFINISHED, manifest)
    n_done = 0
    with ThreadPoolExecutor(n_threads_asked() or os.cpu_count() or 1) as pool:
        for part in pool.map(lambda numbered: _sort_part(shards, folder, *numbered), enumerate(parts)):
            n_done += part.stop - part.start
            tell(n_done)
    with atomic_open(folder / FREQUENCIES, "wb") as file:
        _frequencies(shards).astype("<u8").tofile(file)
    write_json(folder / MANIFEST, manifest)
    (folder / UNFINISHED).unlink()
    return TraceIndex(folder, shards)


class TraceIndex:
    """An index opened for questions.  Nothing is read until it is asked for; threads may share it."""

    def __init__(self, folder: Path, shards: Sequence[TokenShard]) -> None:
        """Raises `DataError` where there is no index in `folder`, or it is not that of `shards`."""
        self.folder, self.shards = folder, list(shards)
        manifest = _read_manifest(folder)
        _check_identity(manifest, self.shards, folder)
        self.n_tokens = int(manifest["n_tokens"])
        self.n_ids = max((shard.vocab_size for shard in self.shards), default=0)
        self.parts = [Part(**part) for part in manifest["parts"]]

    @cached_property
    def n_bytes(self) -> int:
        """On disk, the shards themselves not counted."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    @cached_property
    def frequency_V(self) -> Ints:
        """How often each id occurs."""
        return np.fromfile(self.folder / FREQUENCIES, "<u8").astype(np.int64)

    def count(self, ids: Sequence[int]) -> int:
        """How often `ids` stand one after the other in the training text.  No id at all: the number of tokens."""
        return self.occurrences(ids, [(0, len(ids))])[0].count

    def contains(self, sequences: Sequence[Sequence[int]]) -> list[bool]:
        """Of each sequence of ids whether it stands somewhere in the training text; a thousand cost little more than
        one.  What probes of memorisation ask."""
        ends = [0, *accumulate(map(len, sequences))]
        ids = [id for sequence in sequences for id in sequence]
        return [found.count > 0 for found in self.occurrences(ids, list(pairwise(ends)))]

    def occurrences(self, ids: Sequence[int], spans: Sequence[tuple[int, int]], n_places: int = 0) -> list[Occurrences]:
        """Of each piece `ids[start:stop]`, with its first `n_places` (of a piece that stands in a part more than 4,096
        times: of 4,096 of them)."""
        query = self._checked(ids)
        bounds = np.asarray(spans, np.int64).reshape(-1, 2)
        founds = [text.find(query, bounds[:, 0], bounds[:, 1] - bounds[:, 0]) for text in self._texts]
        return [self._occurrences(row, founds, n_places) for row in range(len(bounds))]

    def longest(self, ids: Sequence[int]) -> Ints:
        """[M] from each place on, how many of `ids` stand so in training: `longest(ids)[0] == len(ids)` if all do."""
        query = self._checked(ids)
        lengths = np.zeros(len(query), np.int64)
        for text in self._texts:
            lengths = np.maximum(lengths, text.longest(query))
        return lengths

    def next_tokens(self, ids: Sequence[int]) -> Continuations:
        """What followed the longest end of `ids` that occurs in training; with none, how frequent each id is."""
        query = self._checked(ids)
        reaches_end = self.longest(ids) == len(query) - np.arange(len(query))
        start = int(np.argmax(reaches_end)) if reaches_end.any() else len(query)
        context = len(query) - start
        if context == 0:
            return Continuations(0, self.n_tokens, self.frequency_V)
        count, count_V = 0, np.zeros(self.n_ids, np.int64)
        for text in self._texts:
            found = text.find(query, np.array([start]), np.array([context]))
            low, high = int(found.low_R[0]), int(found.high_R[0])
            if high > low:
                count += high - low
                count_V += text.following(low, high, context, self.n_ids)
        return Continuations(context, count, count_V)

    @cached_property
    def _texts(self) -> list[SortedText]:
        return [self._open(number, part) for number, part in enumerate(self.parts)]

    def _open(self, number: int, part: Part) -> SortedText:
        path = _part_path(self.folder, number)
        expected = 4 * (part.stop - part.start)
        if not path.is_file() or path.stat().st_size != expected:
            raise DataError(f"{path} is damaged or missing (it should have {expected:,} bytes). Delete {self.folder} "
                            "and index the run again: glass index RUN")  # fmt: skip
        return SortedText(_text_of(self.shards[part.shard], part), np.memmap(path, "<i4", "r"))

    def _checked(self, ids: Sequence[int]) -> Ints:
        query = np.asarray(ids, np.int64)
        if query.size and (int(query.min()) < 0 or int(query.max()) >= max(self.n_ids, 1)):
            raise DataError(f"ids go from 0 to {self.n_ids - 1} in this index; got {query.min()} to {query.max()}. "
                            "Use the tokenizer of the run.")  # fmt: skip
        return query

    def _occurrences(self, row: int, founds: Sequence[Found], n_places: int) -> Occurrences:
        count = 0
        places: list[tuple[int, int]] = []
        for part, text, found in zip(self.parts, self._texts, founds):
            low, high = int(found.low_R[row]), int(found.high_R[row])
            count += high - low
            if (n_left := n_places - len(places)) > 0:
                positions = np.sort(text.order_O[low : min(high, low + MAX_LOOKED_AT)])[:n_left]
                places += [(part.shard, part.start + int(position)) for position in positions]
        return Occurrences(count, tuple(places))


def _cut(shard: TokenShard, number: int, part_tokens: int) -> list[Part]:
    """Parts of about equal size, each of whole documents (a longer document makes a longer part)."""
    n_parts = -(-shard.n_tokens // part_tokens)
    wished = [shard.n_tokens * i // n_parts for i in range(1, n_parts)]
    inner = {
        int(shard.starts[np.searchsorted(shard.starts, at, side="right") - 1]) for at in wished if len(shard.starts)
    }
    edges = sorted({0, *inner, shard.n_tokens})
    return [Part(number, start, stop) for start, stop in pairwise(edges)]


def _text_of(shard: TokenShard, part: Part) -> Any:
    return shard.ids[part.start : min(part.stop + OVERLAP, shard.n_tokens)]


def _sort_part(shards: Sequence[TokenShard], folder: Path, number: int, part: Part) -> Part:
    """Written whole or not at all; one that is there was sorted before an interruption."""
    path = _part_path(folder, number)
    if not path.is_file():
        order = sort_suffixes(_text_of(shards[part.shard], part), shards[part.shard].vocab_size)
        with atomic_open(path, "wb") as file:
            order[order < part.stop - part.start].astype("<i4", copy=False).tofile(file)
    return part


def _frequencies(shards: Sequence[TokenShard]) -> Ints:
    n_ids = max((shard.vocab_size for shard in shards), default=0)
    total_V = np.zeros(n_ids, np.int64)
    for shard in shards:
        for start in range(0, shard.n_tokens, PART_TOKENS):
            total_V += np.bincount(shard.ids[start : start + PART_TOKENS], minlength=n_ids)
    return total_V


def _part_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.order"


def _identity(path: Path) -> dict[str, Any]:
    """A corpus is known by its hash; size and time of change spare the reading of it where they are as they were."""
    status = path.stat()
    return {"name": path.name, "n_bytes": status.st_size, "changed_ns": status.st_mtime_ns, "sha256": sha256_file(path)}


def _content(manifest: dict[str, Any]) -> dict[str, Any]:
    """What must be equal: not when a file was written, nor what it is called."""
    shards = [shard["sha256"] for shard in manifest["shards"]]
    return {**manifest, "shards": shards}


def _check_identity(manifest: dict[str, Any], shards: Sequence[TokenShard], folder: Path) -> None:
    known = manifest["shards"]
    if len(known) == len(shards) and all(_is_same(record, shard.path) for record, shard in zip(known, shards)):
        return
    given = ", ".join(str(shard.path) for shard in shards) or "no shard"
    raise DataError(f"{folder} is the index of another corpus than {given}: their hashes differ. Delete {folder} and "
                    "index the run again: glass index RUN")  # fmt: skip


def _is_same(record: dict[str, Any], path: Path) -> bool:
    status = path.stat()
    if status.st_size != record["n_bytes"]:
        return False
    return status.st_mtime_ns == record["changed_ns"] or sha256_file(path) == record["sha256"]


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        begun = " (one was begun and not finished)" if (folder / UNFINISHED).is_file() else ""
        raise DataError(f"there is no index of the training text in {folder}{begun}. Make it: glass index RUN")
    try:
        manifest = dict(read_json(path))
        version = manifest["version"]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path} is damaged. Delete {folder} and index the run again: glass index RUN") from None
    if version != VERSION:
        raise DataError(f"{path} has version {version}, this Glasshouse reads {VERSION}. Delete {folder} and index the "
                        "run again: glass index RUN")  # fmt: skip
    return manifest


def _clear(folder: Path) -> None:
    """Away with an index of another corpus: its manifest first, so that no moment shows half of one."""
    for path in (folder / MANIFEST, folder / UNFINISHED, folder / FREQUENCIES, *folder.glob("part-*.order")):
        path.unlink(missing_ok=True)
