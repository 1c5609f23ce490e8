"""A conversation with a model: history, system prompt, streaming, and what happens when the context is full.

The prompt is rendered by the checkpoint's own chat template, the one it was trained with.  Where the history no longer
fits, the oldest turns (a question with its answer) are left out of the prompt, and `Turn.notice` says so; a system
prompt always stays.  A reply that is broken off (Ctrl-C) stays in the history as far as it came.
"""

from collections.abc import Iterator, Sequence

from glasshouse.core.errors import ConfigError
from glasshouse.core.records import Message
from glasshouse.infer.engine import Completion, Delta, Engine, FinishReason
from glasshouse.infer.sampling import SamplingConfig
from glasshouse.tokenizer import Tokenizer

MIN_ANSWER_SHARE = 0.25  # of the context kept free for the answer, where max_tokens asks for as much


def chat_ids(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The prompt that asks for the next assistant message."""
    if tokenizer.template is None:
        raise ConfigError("this model has no chat template: it was not made for conversation. Use: glass generate")
    return list(tokenizer.template.encode(tokenizer, messages, adds_generation_prompt=True).ids)


class Turn:
    """One question and its answer, streamed by iterating.  `notice` is known at once, `completion` at the end."""

    def __init__(self, session: "ChatSession", question: str, ids: list[int], n_dropped: int) -> None:
        self.n_prompt_tokens = len(ids)
        self.notice = _notice(n_dropped, session.engine.max_seq_len) if n_dropped else None
        self.completion: Completion | None = None
        self._session, self._question = session, question
        self._deltas = session.engine.stream(ids, session.sampling)

    def __iter__(self) -> Iterator[Delta]:
        seen: list[Delta] = []
        try:
            for delta in self._deltas:
                seen.append(delta)
                yield delta
        finally:
            if seen:
                self._finish(seen)

    def text(self) -> str:
        """The whole answer, unstreamed."""
        for _ in self:
            pass
        return self.completion.text if self.completion else ""

    def _finish(self, seen: Sequence[Delta]) -> None:
        text = "".join(d.text for d in seen)
        reason: FinishReason = seen[-1].finish_reason or "length"
        self.completion = Completion(tuple(d.id for d in seen), text, reason, tuple(d.logp for d in seen))
        self._session.remember(self._question, text)


class ChatSession:
    """`session.send("What does os.getcwd do?")` gives a `Turn` to iterate over; `reset` forgets everything said."""

    def __init__(
        self, engine: Engine, sampling: SamplingConfig, system: str | None = None, *, doubts: bool = True
    ) -> None:
        """`doubts` False: the answer as it comes, whatever the model's own doubt says of it."""
        self.engine, self.sampling = engine, engine.in_conversation(sampling) if doubts else sampling
        self._system = [Message("system", system)] if system else []
        self._history: list[Message] = []
        chat_ids(engine.tokenizer, [*self._system, Message("user", "")])  # no template: say so before anything is typed

    @property
    def messages(self) -> tuple[Message, ...]:
        """The whole conversation so far, also what no longer fits into the prompt."""
        return (*self._system, *self._history)

    def send(self, text: str) -> Turn:
        """Ask; the history grows when the turn has been iterated over."""
        question = Message("user", text)
        budget = self.engine.max_seq_len - self._n_reserved()
        for n_dropped in range(len(self._history) // 2 + 1):
            kept = [*self._system, *self._history[2 * n_dropped :], question]
            ids = chat_ids(self.engine.tokenizer, kept)
            if len(ids) <= budget:
                return Turn(self, text, ids, n_dropped)
        if len(ids) <= self.engine.max_seq_len:  # alone it fits, with less room to answer than we would like
            return Turn(self, text, ids, len(self._history) // 2)
        raise ConfigError(
            f"this message takes {len(ids)} tokens{' with the system prompt' if self._system else ''}, but the model's "
            f"context is {self.engine.max_seq_len}. Shorten it."
        )

    def remember(self, question: str, answer: str) -> None:
        self._history += [Message("user", question), Message("assistant", answer)]

    def reset(self) -> None:
        self._history.clear()

    def _n_reserved(self) -> int:
        """Tokens kept free for the answer (its first needs no slot)."""
        return min(self.sampling.max_tokens, max(1, int(self.engine.max_seq_len * MIN_ANSWER_SHARE))) - 1


def _notice(n_dropped: int, max_seq_len: int) -> str:
    turns = "oldest turn" if n_dropped == 1 else f"{n_dropped} oldest turns"
    return f"the {turns} no longer fit into the context of {max_seq_len} tokens and are left out of the prompt"
