"""What a moderator keeps from being asked and from being said.

A request that is blocked is refused with an error of code "content_filter" before any work.  An answer is judged as it
grows: text is held back until the moderator has read it, `PIECE` tokens at a time, and where it blocks, what was held
back is left out and the answer ends with the finish reason "content_filter".  Streamed or not, it is the same answer.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from glasshouse.align.moderator import Moderator
from glasshouse.infer import Delta, FinishReason
from glasshouse.serve.errors import APIError

PIECE = 32  # tokens; more would hold a stream back longer, fewer cost more readings
CODE: FinishReason = "content_filter"


class Judge(Protocol):
    def blocks(self, text: str) -> bool: ...


@dataclass(slots=True)
class _Held:
    """One answer: what was released of it, and what waits to be judged."""

    released: str = ""
    waiting: list[Delta] = field(default_factory=list)
    is_over: bool = False


class Moderation:
    """A moderator that serves many requests, one text at a time, beside the event loop."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._lock = asyncio.Lock()

    @staticmethod
    def load(path: str | None) -> "Moderation | None":
        return None if path is None else Moderation(Moderator.load(Path(path)))

    async def blocks(self, text: str) -> bool:
        async with self._lock:
            return bool(text.strip()) and await asyncio.to_thread(self._judge.blocks, text)

    async def check(self, texts: Sequence[str], param: str) -> None:
        """Raise where one of the texts of a request is blocked."""
        for text in texts:
            if await self.blocks(text):
                raise APIError(400, "this request is blocked by the server's content policy", param=param, code=CODE)

    async def guarded(
        self, events: AsyncGenerator[tuple[int, Delta], None], n_answers: int
    ) -> AsyncGenerator[tuple[int, Delta], None]:
        """The same events, each after its text was judged; an answer that is blocked ends early."""
        held = [_Held() for _ in range(n_answers)]
        async with aclosing(events):
            async for number, delta in events:
                answer = held[number]
                if answer.is_over:
                    continue
                answer.waiting.append(delta)
                if delta.finish_reason is None and len(answer.waiting) < PIECE:
                    continue
                text = answer.released + "".join(each.text for each in answer.waiting)
                if await self.blocks(text):
                    answer.is_over = True
                    yield number, replace(answer.waiting[0], text="", finish_reason=CODE)
                    if all(each.is_over for each in held):
                        return
                    continue
                for each in answer.waiting:
                    yield number, each
                answer.released, answer.waiting, answer.is_over = text, [], delta.finish_reason is not None
