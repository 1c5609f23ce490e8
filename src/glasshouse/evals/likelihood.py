"""How well a model predicts text it has not seen: bits a byte, comparable between tokenizers.

bits per byte = (sum over documents of -ln p of all their tokens) / ln 2 / (their UTF-8 bytes)
Every token of every document is scored exactly once, the first one too: it follows an end of text, as in training.  The
end of the document itself is not scored, since it has no bytes.
Documents longer than the context C are read in windows of C tokens that begin `stride` tokens apart; a window scores
what the one before it has not, so each token but those of the first window has at least C - stride tokens before it.
stride = C/2 (the default) costs twice the reading of stride = C and does not punish tokens for standing at a boundary.

Shapes: U documents.  Units: nats inside, bits outside.  What computes is the engine (`infer.tails`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glasshouse.core.config import Config
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.intervals import bootstrap_interval
from glasshouse.core.records import Document, Score
from glasshouse.core.terminal import Terminal
from glasshouse.infer import Engine, Tail
from glasshouse.tokenizer import Tokenizer

N_AT_ONCE = 64  # windows between two signs of progress


class LikelihoodConfig(Config):
    stride: int | None = None  # tokens between windows; None: half the context
    max_bytes: int | None = None  # of text, from the first documents on; None: all
    seed: int = 0  # of the bootstrap


@dataclass(frozen=True, slots=True)
class Window:
    """`ids` are read, and the last `n_scored` of them are scored.  `owner` is the sequence they belong to."""

    owner: int
    ids: tuple[int, ...]
    n_scored: int


@dataclass(frozen=True, slots=True)
class HeldOutResult:
    """`bits_per_byte` with its interval over documents; `loss_mean` in nats a token."""

    bits_per_byte: Score
    loss_mean: float
    n_tokens: int
    n_bytes: int
    stride: int


class HeldOutText:
    """Held-out documents, encoded and cut into windows once, to be put to a model as often as wanted."""

    def __init__(self, tokenizer: Tokenizer, documents: Iterable[Document], max_seq_len: int,
                 config: LikelihoodConfig | None = None) -> None:  # fmt: skip
        self.config = config or LikelihoodConfig()
        self.stride = _checked_stride(self.config.stride, max_seq_len)
        texts = _texts(documents, self.config.max_bytes)
        if not texts:
            raise DataError("there is no held-out text to measure: every document is empty, or there are none")
        encoded = tokenizer.encode_batch(texts)
        self.n_bytes_U = np.array([len(text.encode("utf-8", "surrogatepass")) for text in texts], dtype=np.float64)
        self.n_tokens = sum(map(len, encoded))
        starts = [[tokenizer.end_of_text_id, *ids] for ids in encoded]
        self.windows = windows(starts, max_seq_len, self.stride)

    def evaluate(self, engine: Engine, terminal: Terminal | None = None) -> HeldOutResult:
        nll_U = window_nll(engine, self.windows, len(self.n_bytes_U), terminal)
        bits_U = nll_U / math.log(2)
        value = float(bits_U.sum() / self.n_bytes_U.sum())
        low, high = bootstrap_interval(bits_U, self.config.seed, weights=self.n_bytes_U)
        score = Score("bits_per_byte", value, low, high, len(bits_U), "bits/byte")
        return HeldOutResult(
            score, float(nll_U.sum() / self.n_tokens), self.n_tokens, int(self.n_bytes_U.sum()), self.stride
        )


def bits_per_byte(
    engine: Engine,
    documents: Iterable[Document],
    config: LikelihoodConfig | None = None,
    terminal: Terminal | None = None,
) -> Score:
    """Held-out bits per byte once; where it is measured again and again, keep a `HeldOutText`."""
    return HeldOutText(engine.tokenizer, documents, engine.max_seq_len, config).evaluate(engine, terminal).bits_per_byte


def windows(sequences: Sequence[Sequence[int]], max_seq_len: int, stride: int) -> list[Window]:
    """Cut sequences so that each id but the first of each is scored once.

    A window of C inputs predicts C next ids, so it holds C + 1 ids; the first is never scored.
    windows([[0, 1, 2, 3, 4, 5]], 3, 2) -> ids 0 1 2 3 (3 scored), 2 3 4 5 (2 scored)
    """
    result = []
    for owner, ids in enumerate(sequences):
        n_done = 1  # the first id is given
        start = 0
        while n_done < len(ids):
            end = min(start + max_seq_len + 1, len(ids))
            result.append(Window(owner, tuple(ids[start:end]), end - n_done))
            n_done = end
            start += stride
    return result


def window_nll(
    engine: Engine, windows: Sequence[Window], n_owners: int, terminal: Terminal | None = None
) -> NDArray[np.float64]:
    """Sum of -ln p of the scored ids of each owner."""
    nll_U = np.zeros(n_owners)
    with (terminal or Terminal(is_quiet=True)).task("evals", total=len(windows)) as task:
        for start in range(0, len(windows), N_AT_ONCE):
            group = windows[start : start + N_AT_ONCE]
            scores = engine.score_tails([Tail(w.ids, w.n_scored) for w in group])
            np.add.at(nll_U, [w.owner for w in group], [-score.logp_sum for score in scores])
            n_done = start + len(group)
            task.advance_to(n_done, f"{n_done:,} of {len(windows):,} windows")
    return nll_U


def _texts(documents: Iterable[Document], max_bytes: int | None) -> list[str]:
    texts: list[str] = []
    n_bytes = 0
    for document in documents:
        if max_bytes is not None and n_bytes >= max_bytes:
            break
        if document.text:
            texts.append(document.text)
            n_bytes += len(document.text.encode("utf-8", "surrogatepass"))
    return texts


def _checked_stride(stride: int | None, max_seq_len: int) -> int:
    if stride is None:
        return max(1, max_seq_len // 2)
    if not 1 <= stride <= max_seq_len:
        raise ConfigError(f"stride must be from 1 to the context of {max_seq_len} tokens; got {stride}")
    return stride
