"""Ids into text as it is spoken: whole characters only, and nothing of a stop string.

A stop string may span tokens, so text that could still become one is held back until it cannot.  What counts is the
stop string that is complete first; the result is the same however the text is cut into pieces (tested), and therefore
streamed text equals unstreamed text.
"""

from collections.abc import Sequence

from glasshouse.tokenizer import IncrementalDecoder, Tokenizer


class StopFilter:
    """Lets text through up to the first stop string.

    With stops ("END",): push("the E") -> "the "; push("NDive") -> "" and `is_stopped`; had it been push("ast"), "East".
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(stops)
        self.is_stopped = False
        self._held = ""
        self._longest = max(map(len, stops), default=0)

    def push(self, text: str) -> str:
        """The text that is now certain."""
        if self.is_stopped:
            return ""
        self._held += text
        matches = [(found + len(stop), found) for stop in self.stops if (found := self._held.find(stop)) >= 0]
        if matches:
            self.is_stopped = True
            return self._release(min(matches)[1])
        return self._release(len(self._held) - self._n_uncertain())

    def finish(self) -> str:
        """The rest, when no more text will come."""
        return "" if self.is_stopped else self._release(len(self._held))

    def _n_uncertain(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        for length in range(min(self._longest - 1, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self.stops):
                return length
        return 0

    def _release(self, length: int) -> str:
        released, self._held = self._held[:length], self._held[length:]
        return released


class TextStream:
    """Ids in, certain text out: the decoder that waits for whole characters, then the stop filter."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = (), *, waits: bool = False) -> None:
        """`waits`: give nothing until `finish`, which then decodes everything at once; not for stop strings."""
        self._tokenizer, self._waiting = tokenizer, list[int]() if waits else None
        self._decoder = IncrementalDecoder(tokenizer)
        self._filter = StopFilter(stops)
        self._pieces: list[str] = []

    @property
    def is_stopped(self) -> bool:
        return self._filter.is_stopped

    @property
    def text(self) -> str:
        """Everything let through so far."""
        return "".join(self._pieces)

    def push(self, id: int) -> str:
        if self._waiting is not None:
            self._waiting.append(id)
            return ""
        return self._keep(self._filter.push(self._decoder.push(id)))

    def finish(self) -> str:
        """The rest, when no more ids will come: held text, and a mark for bytes that never became a character."""
        if self._waiting is not None:
            text, self._waiting = self._tokenizer.decode(self._waiting), []
            return self._keep(text)
        last = self._filter.push(self._decoder.finish())
        return self._keep(last + self._filter.finish())

    def _keep(self, piece: str) -> str:
        if piece:
            self._pieces.append(piece)
        return piece
