"""Windows of a token stream: shuffled, mixed by weight, with or without attention across documents.

A window is `seq_len + 1` tokens; windows tile the stream from an offset drawn anew each epoch, so that the same
sentence is seen cut at other places.  All windows have the same length, hence a mixture counted in windows is a
mixture counted in tokens.  Shapes: B rows, T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from glasshouse.batch.cursor import Cursor
from glasshouse.batch.lm_batch import LMBatch
from glasshouse.batch.shard import TokenShard
from glasshouse.batch.shuffle import shuffled
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.seeds import derive_seed


@dataclass(frozen=True)
class Source:
    """A shard and its share of the tokens of a mixture (weights need not sum to one)."""

    shard: TokenShard
    weight: float = 1.0


class PackedLoader:
    """Batches of `batch_tokens // seq_len` windows.  `crosses_documents=False` gives `document_BT`."""

    has_fixed_shape = True
    reads_ahead = True  # a batch is a function of its cursor

    def __init__(
        self,
        sources: Sequence[Source] | TokenShard,
        seq_len: int,
        batch_tokens: int,
        seed: int,
        *,
        crosses_documents: bool = True,
    ) -> None:
        self.sources = [Source(sources)] if isinstance(sources, TokenShard) else list(sources)
        self.seq_len, self.seed, self.crosses_documents = seq_len, seed, crosses_documents
        self.n_rows = batch_tokens // seq_len
        _check(self.sources, seq_len, batch_tokens)
        total = sum(s.weight for s in self.sources)
        self._shares = [s.weight / total for s in self.sources]
        self._n_windows = [max(1, (s.shard.n_tokens - 1) // seq_len - 1) for s in self.sources]
        self._seeds = [derive_seed(seed, "source", k) for k in range(len(self.sources))]
        self._arange = np.arange(seq_len + 1)

    @property
    def tokenizer_hash(self) -> str:
        return self.sources[0].shard.tokenizer_hash

    @property
    def n_epoch_tokens(self) -> int:
        """Tokens of one pass over every source once."""
        return sum(n * self.seq_len for n in self._n_windows)

    def start(self) -> Cursor:
        return Cursor(consumed=(0,) * len(self.sources))

    def batch_at(self, cursor: Cursor) -> tuple[LMBatch, Cursor]:
        """Epochs are counted by the first source; each source repeats in its own time."""
        consumed = list(cursor.consumed)
        n_drawn = sum(consumed)
        rows, documents, n_bytes = [], [], 0
        for _ in range(self.n_rows):
            k = self._next_source(consumed, n_drawn)
            shard, start = self.sources[k].shard, self._window_start(k, consumed[k])
            tokens = shard.ids[start : start + self.seq_len + 1].astype(np.int64)
            rows.append(tokens)
            n_bytes += int(shard.bytes_V[tokens[1:]].sum())
            if not self.crosses_documents:
                documents.append(shard.document_numbers(start, start + self.seq_len))
            consumed[k] += 1
            n_drawn += 1
        tokens_BT = torch.from_numpy(np.stack(rows))
        document_BT = torch.from_numpy(np.stack(documents)) if documents else None
        batch = LMBatch(tokens_BT[:, :-1], tokens_BT[:, 1:], None, document_BT, n_bytes)
        return batch, Cursor(consumed[0] // self._n_windows[0], cursor.index + 1, tuple(consumed))

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "packed",
            "seq_len": self.seq_len,
            "rows": self.n_rows,
            "seed": self.seed,
            "crosses_documents": self.crosses_documents,
            "tokenizer": self.tokenizer_hash,
            "sources": [[s.shard.n_tokens, s.weight] for s in self.sources],
        }

    def _next_source(self, consumed: Sequence[int], n_drawn: int) -> int:
        """The source furthest behind its share: after n windows each is within one window of its weight."""
        if len(self._shares) == 1:
            return 0
        return max(range(len(self._shares)), key=lambda k: self._shares[k] * (n_drawn + 1) - consumed[k])

    def _window_start(self, k: int, consumed: int) -> int:
        n = self._n_windows[k]
        epoch, index = divmod(consumed, n)
        slack = self.sources[k].shard.n_tokens - 1 - n * self.seq_len
        offset = derive_seed(self._seeds[k], "offset", epoch) % (slack + 1)
        return offset + shuffled(self._seeds[k], epoch, n)(index) * self.seq_len


def _check(sources: Sequence[Source], seq_len: int, batch_tokens: int) -> None:
    if not sources:
        raise ConfigError("a mixture needs at least one source")
    if batch_tokens < seq_len:
        raise ConfigError(f"batch_tokens={batch_tokens} is less than one row of seq_len={seq_len} tokens")
    if any(not s.weight > 0 for s in sources):
        raise ConfigError(f"weights of a mixture are above zero; given: {[s.weight for s in sources]}")
    if len({s.shard.tokenizer_hash for s in sources}) > 1:
        names = ", ".join(f"{s.shard.path} ({s.shard.tokenizer_hash[:12]})" for s in sources)
        raise DataError(f"the sources of a mixture were written with different tokenizers: {names}")
    for source in sources:
        n = source.shard.n_tokens
        if n < seq_len + 1:
            raise DataError(
                f"{source.shard.path} holds {n} tokens, too few for one row of seq_len={seq_len}. "
                f"What would fit: seq_len of at most {max(1, n - 1)}, or at least {seq_len + 1 - n} more tokens."
            )
