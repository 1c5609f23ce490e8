"""Texts that are one of two things, into batches: rows of like length together, each scored at its last token.

Shapes: B rows, T tokens.  A text stands after an end of text, as in training; one too long is cut into several rows, so
that nothing hides behind a long beginning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glasshouse.batch.buckets import BucketedLoader
from glasshouse.batch.comparisons import Row, fingerprint
from glasshouse.batch.lm_batch import LMBatch
from glasshouse.batch.preferences import pad_rows
from glasshouse.tokenizer import Tokenizer


@dataclass(frozen=True)
class LabelledRow:
    row: Row
    is_positive: bool


def text_rows(tokenizer: Tokenizer, text: str, seq_len: int) -> list[Row]:
    """The rows of a text, none longer than `seq_len`; of an empty one, the end of text alone."""
    ids = tokenizer.encode(text)
    size = seq_len - 1
    pieces = [ids[at : at + size] for at in range(0, len(ids), size)] or [[]]
    rows = (np.asarray([tokenizer.end_of_text_id, *piece], np.int64) for piece in pieces)
    return [Row(ids, np.zeros_like(ids), np.arange(len(ids)) == len(ids) - 1) for ids in rows]


@dataclass(frozen=True)
class LabelledBatch:
    rows: LMBatch
    is_positive_B: Tensor
    n_bytes: int = 0

    @property
    def ids_BT(self) -> Tensor:
        return self.rows.ids_BT

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    @property
    def n_tokens(self) -> int:
        return self.rows.n_tokens

    def count_targets(self) -> int:
        return self.n_rows

    def microbatches(self, microbatch_tokens: int | None) -> list["LabelledBatch"]:
        """Groups of whole rows of at most `microbatch_tokens` tokens (at least one row each)."""
        parts = self.rows.microbatches(microbatch_tokens)
        labels = self.is_positive_B.split([part.n_rows for part in parts])
        return [LabelledBatch(part, own) for part, own in zip(parts, labels)]

    def to(self, device: torch.device) -> "LabelledBatch":
        return LabelledBatch(self.rows.to(device), self.is_positive_B.to(device), self.n_bytes)


class LabelledLoader(BucketedLoader[LabelledRow, LabelledBatch]):
    kind = "labelled"

    def size(self, item: LabelledRow) -> tuple[int, int]:
        return len(item.row), 1

    def assemble(self, items: Sequence[LabelledRow], length: int) -> LabelledBatch:
        labels = torch.tensor([item.is_positive for item in items])
        return LabelledBatch(pad_rows((item.row for item in items), length, self.pad_id), labels)

    def content(self) -> dict[str, Any]:
        return {
            "rows": len(self.items),
            "positive": sum(item.is_positive for item in self.items),
            "content": fingerprint(item.row for item in self.items),
        }
