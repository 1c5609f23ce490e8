"""Guesses at the next tokens, which the model then checks in one step instead of several.

The engine draws each token exactly as it would without guesses (its randomness is a function of seed and place), and
keeps a guess where it equals the token drawn.  So speculation changes no token, greedy or sampled, whatever is guessed:
it only decides how many come out of one step.  Sources: arXiv:2211.17192; prompt lookup, arXiv:2304.04487.
A guess x is kept with the probability the model gives it, as in those papers for guesses that are not random.
Left out: drawing guesses from the draft model's distribution (greedy ones are kept less often at high temperature).
"""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Protocol

from glasshouse.infer.blocks import BlockPool
from glasshouse.infer.runner import Runner, step_batch
from glasshouse.infer.sequence import Sequence

PROMPT_LOOKUP = "prompt-lookup"  # what a user writes in place of a draft model's name
N_DRAFTS = 4
MAX_SEQUENCES = 8  # with more the model has enough to do, and wrong guesses cost more than right ones save


class Drafter(Protocol):
    def propose(self, sequences: SequenceOf[Sequence]) -> None:
        """Fill `drafts` of sequences that only need their next token."""
        ...

    def forget(self, sequence: Sequence) -> None:
        """It has ended."""
        ...


class PromptLookup:
    """Guesses that what followed the last tokens before will follow again: copying, quoting, code."""

    def __init__(self, n_drafts: int = N_DRAFTS, *, lengths: tuple[int, ...] = (3, 2),
                 max_sequences: int = MAX_SEQUENCES) -> None:  # fmt: skip
        """`lengths` of the endings that are looked for, the first that is found counts."""
        self.n_drafts, self.lengths, self.max_sequences = n_drafts, lengths, max_sequences
        self._indexes: dict[Sequence, _Index] = {}

    def propose(self, sequences: SequenceOf[Sequence]) -> None:
        if len(sequences) > self.max_sequences:
            return
        for sequence in sequences:
            index = self._indexes.setdefault(sequence, _Index(self.lengths))
            sequence.drafts = index.following(sequence.tokens, _n_useful(sequence, self.n_drafts))

    def forget(self, sequence: Sequence) -> None:
        self._indexes.pop(sequence, None)


class _Index:
    """Where each run of tokens was followed by something, the last time."""

    def __init__(self, lengths: tuple[int, ...]) -> None:
        self._lengths = lengths
        self._place_after: dict[tuple[int, ...], int] = {}
        self._n_seen = 0

    def following(self, tokens: list[int], n: int) -> list[int]:
        """Up to n tokens that followed the longest ending of `tokens` found earlier."""
        for place in range(self._n_seen, len(tokens)):
            for length in self._lengths:
                if place >= length:
                    self._place_after[tuple(tokens[place - length : place])] = place
        self._n_seen = len(tokens)
        for length in self._lengths:
            place = self._place_after.get(tuple(tokens[-length:]), len(tokens))
            if place < len(tokens):
                return tokens[place : place + n]
        return []


@dataclass(eq=False)
class _Shadow:
    """A sequence as the draft model has it in its own memory."""

    tokens: list[int]
    blocks: list[int] = field(default_factory=list)
    n_computed: int = 0
    drafts: list[int] = field(default_factory=list)  # always empty: the draft model is not guessed for


class DraftModel:
    """Guesses of a smaller model with the same tokenizer, its likeliest tokens."""

    def __init__(self, runner: Runner, vocab_size: int, n_drafts: int = N_DRAFTS, *,
                 max_sequences: int = MAX_SEQUENCES, max_seq_len: int | None = None) -> None:  # fmt: skip
        """`vocab_size` is the tokenizer's: ids beyond it are never guessed.  `max_seq_len` is the draft model's: longer
        texts are not guessed for."""
        self.n_drafts, self.max_sequences, self.max_seq_len = n_drafts, max_sequences, max_seq_len
        self._runner, self._vocab_size = runner, vocab_size
        self._pool = BlockPool(runner.n_blocks)
        self._shadows: dict[Sequence, _Shadow] = {}

    def propose(self, sequences: SequenceOf[Sequence]) -> None:
        if len(sequences) > self.max_sequences:
            return
        for _ in range(self.n_drafts):
            live = [s for s in sequences if len(s.drafts) < _n_useful(s, self.n_drafts) and self._follow(s)]
            if not live:
                return
            shadows = [self._shadows[s] for s in live]
            batch, _ = step_batch({shadow: len(shadow.tokens) - shadow.n_computed for shadow in shadows})
            ids = self._runner.run(batch)[:, : self._vocab_size].argmax(dim=1).tolist()
            for sequence, shadow, id in zip(live, shadows, ids):
                shadow.n_computed = len(shadow.tokens)
                sequence.drafts.append(id)

    def forget(self, sequence: Sequence) -> None:
        if shadow := self._shadows.pop(sequence, None):
            self._pool.release(shadow.blocks)

    def _follow(self, sequence: Sequence) -> bool:
        """Bring the shadow up to the sequence and its guesses; False where it is too long or memory is short."""
        shadow = self._shadows.setdefault(sequence, _Shadow([]))
        tokens = sequence.tokens + sequence.drafts
        if self.max_seq_len is not None and len(tokens) > self.max_seq_len:
            return False
        first_new = next((i for i, (a, b) in enumerate(zip(shadow.tokens, tokens)) if a != b), len(shadow.tokens))
        shadow.n_computed = min(shadow.n_computed, first_new, len(tokens) - 1)
        shadow.tokens = tokens
        n_missing = -(-len(tokens) // self._runner.block_size) - len(shadow.blocks)
        if n_missing > self._pool.n_free:
            return False
        shadow.blocks += [self._pool.take() for _ in range(n_missing)]
        return True


def _n_useful(sequence: Sequence, n: int) -> int:
    """No more than can still be kept: the last token of an answer is never fed back."""
    return max(0, min(n, sequence.limit - sequence.n_generated - 1))
