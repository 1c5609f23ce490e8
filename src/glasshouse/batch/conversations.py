"""Conversations into batches: loss on the assistant's tokens only, whole conversations, nothing cut by a window.

Three ways to lay them out, chosen by `ConversationConfig.packing`:
  "bucketed"  one conversation a row, rows of like length together, right-padded; plain causal attention (a real token
              never sees the padding behind it), so no mask and short rows: the fastest on CPU for short conversations
  "masked"    several whole conversations a row of `seq_len`, attention kept within each (`document_BT`)
  "open"      the same rows without masks: a conversation sees those before it in its row
The set may be a function of the epoch (fresh examples every epoch); it must be deterministic, for resume asks it again.
Shapes: B rows, T tokens.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from glasshouse.batch.cursor import Cursor
from glasshouse.batch.lm_batch import LMBatch
from glasshouse.core.config import Config
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.records import Conversation
from glasshouse.core.seeds import numpy_generator
from glasshouse.tokenizer import Tokenizer

_Kept = tuple[NDArray[np.int64], NDArray[np.bool_], int]  # ids, loss mask, bytes of the text to be learned


@dataclass(frozen=True, slots=True)
class EncodedConversation:
    """`loss_mask[i]` True where `ids[i]` is to be learned; `n_bytes` of the text those ids stand for."""

    ids: Sequence[int]
    loss_mask: Sequence[bool]
    n_bytes: int = 0
    id: str = ""


def encode_conversations(conversations: Iterable[Conversation], tokenizer: Tokenizer) -> list[EncodedConversation]:
    """Through the tokenizer's own chat template: the one renderer of training, evaluation, chat and serving."""
    template = tokenizer.template
    if template is None:
        raise DataError("this tokenizer has no chat template, so conversations cannot be encoded; use one that has")
    encoded = []
    for conversation in conversations:
        chat = template.encode(tokenizer, conversation.messages)
        n_bytes = sum(len(m.content.encode()) for m in conversation.messages if m.role == "assistant")
        encoded.append(EncodedConversation(chat.ids, chat.loss_mask, n_bytes, conversation.id))
    return encoded


ConversationSource = Sequence[EncodedConversation] | Callable[[int], Sequence[EncodedConversation]]


@dataclass(frozen=True, slots=True)
class ConversationReport:
    """What became of a set: how many are trained on, how many were cut or refused and why, how full the rows are."""

    n_used: int
    n_cut: int
    n_too_long: int
    n_without_targets: int
    n_rows: int
    n_tokens: int
    n_targets: int
    fill: float  # share of the batch positions that hold real tokens

    def problems(self) -> list[str]:
        """One line a kind of loss, for the terminal; empty when every conversation is used whole."""
        return [
            f"{count:,} conversations {what}"
            for count, what in (
                (self.n_cut, "cut to the row length"),
                (self.n_too_long, "refused: longer than the row length (raise seq_len, or set too_long = 'cut')"),
                (self.n_without_targets, "refused: no assistant token to learn"),
            )
            if count
        ]


class ConversationConfig(Config):
    packing: Literal["bucketed", "masked", "open"] = "bucketed"
    too_long: Literal["refuse", "cut"] = "refuse"
    bucket_multiple: int = 8  # rows of a bucket are padded to a multiple of this: few shapes, little waste


@dataclass(frozen=True)
class _Epoch:
    """A planned epoch: kept conversations, and for each batch its row length and its rows of conversation numbers."""

    kept: list[_Kept]
    batches: list[tuple[int, list[list[int]]]]
    report: ConversationReport


class ConversationLoader:
    """Batches of about `batch_tokens` positions.  The order of epoch e is a pure function of (seed, e)."""

    def __init__(
        self,
        source: ConversationSource,
        seq_len: int,
        batch_tokens: int,
        seed: int,
        *,
        tokenizer_hash: str,
        pad_id: int,
        config: ConversationConfig = ConversationConfig(),  # noqa: B008 (frozen)
    ) -> None:
        if batch_tokens < seq_len:
            raise ConfigError(f"batch_tokens={batch_tokens} is less than one row of seq_len={seq_len} tokens")
        self._source, self.seq_len, self.batch_tokens, self.seed = source, seq_len, batch_tokens, seed
        self._tokenizer_hash, self._pad_id, self.config = tokenizer_hash, pad_id, config
        self._planned: tuple[int, _Epoch] | None = None

    @property
    def tokenizer_hash(self) -> str:
        return self._tokenizer_hash

    @property
    def has_fixed_shape(self) -> bool:
        return self.config.packing != "bucketed"

    def start(self) -> Cursor:
        return Cursor()

    def n_batches(self, epoch: int = 0) -> int:
        return len(self._plan(epoch).batches)

    def report(self, epoch: int = 0) -> ConversationReport:
        return self._plan(epoch).report

    def batch_at(self, cursor: Cursor) -> tuple[LMBatch, Cursor]:
        plan = self._plan(cursor.epoch)
        length, rows = plan.batches[cursor.index]
        batch = self._assemble(plan.kept, length, rows)
        if cursor.index + 1 < len(plan.batches):
            return batch, replace(cursor, index=cursor.index + 1)
        return batch, Cursor(epoch=cursor.epoch + 1)

    def describe(self) -> dict[str, Any]:
        report = self.report(0)
        return {
            "kind": "conversations",
            "seq_len": self.seq_len,
            "batch_tokens": self.batch_tokens,
            "seed": self.seed,
            "tokenizer": self.tokenizer_hash,
            "config": self.config.model_dump(),
            "first_epoch": asdict(report),
        }

    def _plan(self, epoch: int) -> _Epoch:
        if self._planned is None or self._planned[0] != epoch:
            self._planned = (epoch, self._make_plan(epoch))
        return self._planned[1]

    def _make_plan(self, epoch: int) -> _Epoch:
        given = self._source(epoch) if callable(self._source) else self._source
        kept, counts = _select(given, self.seq_len, self.config.too_long)
        if not kept:
            raise DataError(_nothing_left(len(given), counts, self.seq_len))
        rng = numpy_generator(self.seed, "conversations", epoch)
        order = [int(i) for i in rng.permutation(len(kept))]
        lengths = [len(ids) - 1 for ids, _, _ in kept]
        if self.config.packing == "bucketed":
            batches = _bucket(order, lengths, self.batch_tokens, self.config.bucket_multiple, self.seq_len)
            batches = [batches[int(i)] for i in rng.permutation(len(batches))]
        else:
            rows = pack(order, lengths, self.seq_len)
            n_batches = -(-len(rows) // (self.batch_tokens // self.seq_len))
            # spread evenly, so that no batch of an epoch is a small remainder
            cuts = [len(rows) * b // n_batches for b in range(n_batches + 1)]
            batches = [(self.seq_len, rows[a:b]) for a, b in pairwise(cuts)]
        n_positions = sum(length * len(rows) for length, rows in batches)
        report = ConversationReport(
            n_used=len(kept), **counts,
            n_rows=sum(len(rows) for _, rows in batches), n_tokens=sum(lengths),
            n_targets=sum(int(mask[1:].sum()) for _, mask, _ in kept), fill=sum(lengths) / n_positions,
        )  # fmt: skip
        return _Epoch(kept, batches, report)

    def _assemble(self, kept: list[_Kept], length: int, rows: list[list[int]]) -> LMBatch:
        shape = (len(rows), length)
        ids_BT = np.full(shape, self._pad_id, np.int64)
        targets_BT = np.full(shape, self._pad_id, np.int64)
        mask_BT = np.zeros(shape, np.bool_)
        document_BT = np.zeros(shape, np.int64) if self.config.packing == "masked" else None
        n_bytes = 0
        for b, row in enumerate(rows):
            at = 0
            for number, conversation in enumerate(row):
                ids, mask, size = kept[conversation]
                end = at + len(ids) - 1
                ids_BT[b, at:end], targets_BT[b, at:end], mask_BT[b, at:end] = ids[:-1], ids[1:], mask[1:]
                if document_BT is not None:
                    document_BT[b, at:end] = number
                at, n_bytes = end, n_bytes + size
            if document_BT is not None:
                document_BT[b, at:] = len(row)  # the padding is a document of its own
        document = None if document_BT is None else torch.from_numpy(document_BT)
        tensors = (torch.from_numpy(ids_BT), torch.from_numpy(targets_BT), torch.from_numpy(mask_BT))
        return LMBatch(*tensors, document, n_bytes)


def pack(order: Iterable[int], lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Rows of items, none split: each item goes into the fullest row that still holds it (best fit), in `order`.

    pack([0, 1, 2], lengths=[6, 5, 4], capacity=10) -> [[0, 2], [1]].  Bit r of `open_sizes` is set while some row has
    room for exactly r more, so the best row is the lowest set bit at or above the item's length.
    """
    rows: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    open_sizes = 0
    for item in order:
        length = lengths[item]
        fitting = open_sizes >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = by_room[room].pop()
            if not by_room[room]:
                open_sizes &= ~(1 << room)
            rows[row].append(item)
        else:
            row, room = len(rows), capacity
            rows.append([item])
        by_room[room - length].append(row)
        open_sizes |= 1 << (room - length)
    return rows


def _bucket(
    order: Sequence[int], lengths: Sequence[int], batch_tokens: int, multiple: int, seq_len: int
) -> list[tuple[int, list[list[int]]]]:
    """Batches of single-conversation rows of like length: sorted (ties stay in `order`), cut at `batch_tokens`."""
    batches: list[tuple[int, list[list[int]]]] = []
    rows: list[list[int]] = []
    padded = 0
    for item in sorted(order, key=lambda i: -lengths[i]):
        if not rows or (len(rows) + 1) * padded > batch_tokens:
            rows = []
            padded = min(seq_len, -(-lengths[item] // multiple) * multiple)
            batches.append((padded, rows))
        rows.append([item])
    return batches


def _select(
    given: Sequence[EncodedConversation], seq_len: int, too_long: Literal["refuse", "cut"]
) -> tuple[list[_Kept], dict[str, int]]:
    kept: list[_Kept] = []
    counts = {"n_cut": 0, "n_too_long": 0, "n_without_targets": 0}
    for conversation in given:
        example = _end_at_last_target(conversation, len(conversation.ids))
        if example is not None and len(example[0]) - 1 > seq_len:
            if too_long == "refuse":
                counts["n_too_long"] += 1
                continue
            counts["n_cut"] += 1
            example = _end_at_last_target(conversation, seq_len + 1)
        if example is None:
            counts["n_without_targets"] += 1
        else:
            kept.append(example)
    return kept, counts


def _end_at_last_target(conversation: EncodedConversation, limit: int) -> _Kept | None:
    """The first `limit` tokens up to the last one that is to be learned: what follows it would teach nothing."""
    mask = np.asarray(conversation.loss_mask, np.bool_)
    if len(conversation.ids) != len(mask):
        raise DataError(
            f"conversation {conversation.id!r} has {len(conversation.ids)} ids but a loss mask of {len(mask)}"
        )
    targets = mask[:limit].nonzero()[0]
    if not targets.size or targets[-1] == 0:  # nothing comes before the first token, so it cannot be learned
        return None
    end = int(targets[-1]) + 1
    n_bytes = conversation.n_bytes * targets.size // int(mask.sum())  # in proportion: the text itself is not here
    return np.asarray(conversation.ids[:end], np.int64), mask[:end], n_bytes


def _nothing_left(n_given: int, counts: dict[str, int], seq_len: int) -> str:
    if not n_given:
        return "there are no conversations to train on. Give at least one with an assistant message."
    return (
        f"none of {n_given} conversations can be trained on: {counts['n_too_long']} are longer than seq_len={seq_len} "
        f"tokens, {counts['n_without_targets']} have no assistant token to learn. Raise seq_len, set too_long = 'cut', "
        f"or check that the messages have the role 'assistant'."
    )
