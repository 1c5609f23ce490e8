"""One request on its way through the engine, and what comes out of it."""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import Literal

from glasshouse.core.errors import GlasshouseError
from glasshouse.infer.blocks import ROOT, Name, block_name
from glasshouse.infer.doubt import Doubt
from glasshouse.infer.reading import PIECE, Reading
from glasshouse.infer.sampler import Choice
from glasshouse.infer.text import TextStream

FinishReason = Literal["stop", "length", "cancelled", "content_filter"]  # the last: by a server that moderates
Alternatives = tuple[tuple[int, float], ...]  # (id, log-probability), likeliest first


@dataclass(frozen=True, slots=True)
class Completion:
    """What was generated.

    `ids` is every token chosen, the one that ended the answer included; `text` has neither that token nor anything of a
    stop string.  `logps` (one an id, nats) are the model's own, before temperature and the other settings
    (`scales_logps`: at that temperature), and so are the `alternatives`.  `finish_reason` is "stop" (end token, stop
    id, stop string, or a grammar that is complete), "length" (max_tokens, or the context was full) or "cancelled".
    `n_cached_tokens` of the prompt were not computed again.  `withheld`: what it would have said, where it was not sure
    enough of that (`SamplingConfig.doubt`) and `text` says so instead.
    """

    ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason
    logps: tuple[float, ...]
    alternatives: tuple[Alternatives, ...] = ()
    n_prompt_tokens: int = 0
    n_cached_tokens: int = 0
    withheld: str | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """One streamed token: `text` is what became certain with it (often "").  The last one has the `finish_reason`."""

    text: str
    id: int
    logp: float
    finish_reason: FinishReason | None = None
    alternatives: Alternatives = ()


class Sequence:
    """A request: its tokens, its blocks of memory, and how far it has come.

    The first `n_computed` of `tokens` have their keys and values in memory.  `drafts` are guesses at what comes next,
    to be checked in the coming step.
    """

    def __init__(self, number: int, prompt: SequenceOf[int], choice: Choice, limit: int, end_ids: frozenset[int],
                 text: TextStream, reading: Reading | None = None) -> None:  # fmt: skip
        self.reading = reading  # the prompt is read for its own sake, and nothing generated
        self.number, self.choice, self.limit, self.text = number, choice, limit, text
        self.end_ids = end_ids  # those that end this one
        self.n_prompt_tokens, self.n_cached_tokens = len(prompt), 0
        self.tokens = list(prompt)
        self.logps: list[float] = []
        self.alternatives: list[Alternatives] = []
        self.drafts: list[int] = []
        self.blocks: list[int] = []
        self.names: list[Name] = []  # of the full blocks of `tokens`, as far as they were needed
        self.n_computed = 0
        self.n_preemptions = 0
        self.n_named = 0  # of `blocks`, those that can be found by others
        self.finish_reason: FinishReason | None = None
        self.withheld: str | None = None
        self.error: GlasshouseError | None = None  # why it was cancelled, where that was not the caller's wish

    @property
    def ids(self) -> list[int]:
        """What was generated."""
        return self.tokens[self.n_prompt_tokens :]

    @property
    def n_generated(self) -> int:
        return len(self.tokens) - self.n_prompt_tokens

    @property
    def n_pending(self) -> int:
        """Tokens to be computed before the next can be chosen."""
        return len(self.tokens) - self.n_computed

    def n_next(self, budget: int) -> int:
        """Tokens it takes in a step that has room for `budget`, drafts not counted."""
        return min(self.n_pending, budget if self.reading is None else min(budget, PIECE))

    def block_names(self, n_blocks: int, block_size: int) -> list[Name]:
        """Names of the first full blocks."""
        for at in range(len(self.names), n_blocks):
            parent = self.names[-1] if self.names else ROOT
            self.names.append(block_name(parent, self.tokens[at * block_size : (at + 1) * block_size]))
        return self.names[:n_blocks]

    def push(self, id: int, logp: float, alternatives: Alternatives = ()) -> Delta:
        """One more token was chosen."""
        self.tokens.append(id)
        self.logps.append(logp)
        self.alternatives.append(alternatives)
        choice = self.choice
        choice.accept(id)
        is_end = id in self.end_ids
        piece = "" if is_end else self.text.push(id)
        is_complete = choice.grammar is not None and choice.grammar.is_finished
        if is_end or self.text.is_stopped or is_complete:
            self.finish_reason = "stop"
        elif self.n_generated >= self.limit:
            self.finish_reason = "length"
        if self.finish_reason is not None:
            piece += self.text.finish()
        if choice.config.doubt is not None:
            piece = self._whole_answer(choice.config.doubt)
        return Delta(piece, id, logp, self.finish_reason, alternatives)

    def _whole_answer(self, doubt: Doubt) -> str:
        """Nothing until it is whole; then what was said, or that it is not sure."""
        if self.finish_reason is None:
            return ""
        if not doubt.holds_back(self.text.text, sum(self.logps)):
            return self.text.text
        self.withheld = self.text.text
        return doubt.says

    def completion(self) -> Completion:
        alternatives = tuple(self.alternatives) if self.choice.config.n_logprobs else ()
        text = self.text.text
        if self.withheld is not None and self.choice.config.doubt is not None:
            text = self.choice.config.doubt.says
        return Completion(
            tuple(self.ids), text, self.finish_reason or "cancelled", tuple(self.logps), alternatives,
            self.n_prompt_tokens, self.n_cached_tokens, self.withheld,
        )  # fmt: skip
