"""Log-probabilities of tokens in OpenAI's two shapes, for chat and for text completions.

Log-probabilities are in nats, the model's own (before temperature and the other settings), and finite: JSON has no
infinity, and OpenAI says -9999 for what cannot be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from glasshouse.tokenizer import Tokenizer

LEAST = -9999.0


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token with its log-probability (None for the first of a text) and the likeliest ones in its place."""

    id: int
    logp: float | None
    alternatives: tuple[tuple[int, float], ...] = ()


def chat_logprobs(tokenizer: Tokenizer, tokens: Sequence[ScoredToken]) -> dict[str, Any]:
    entries = [
        {
            **_alternative(tokenizer, token.id, token.logp),
            "top_logprobs": [_alternative(tokenizer, id, logp) for id, logp in token.alternatives],
        }
        for token in tokens
    ]
    return {"content": entries, "refusal": None}


def _alternative(tokenizer: Tokenizer, id: int, logp: float | None) -> dict[str, Any]:
    data = tokenizer.token_bytes(id)
    return {"token": data.decode("utf-8", "replace"), "logprob": _finite(logp), "bytes": list(data)}


@dataclass(slots=True)
class TextLogprobs:
    """The parallel lists of a text completion, which grow token by token."""

    tokenizer: Tokenizer
    has_alternatives: bool
    tokens: list[str] = field(default_factory=list)
    logps: list[float | None] = field(default_factory=list)
    tops: list[dict[str, float] | None] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)

    def add(self, token: ScoredToken, offset: int) -> None:
        self.tokens.append(token_name(self.tokenizer, token.id))
        self.logps.append(None if token.logp is None else _finite(token.logp))
        self.tops.append(None if token.logp is None else self._top(token))
        self.offsets.append(offset)

    def take(self) -> dict[str, Any]:
        """What has come since the last call."""
        result = {
            "tokens": self.tokens,
            "token_logprobs": self.logps,
            "top_logprobs": self.tops if self.has_alternatives else None,
            "text_offset": self.offsets,
        }
        self.tokens, self.logps, self.tops, self.offsets = [], [], [], []
        return result

    def _top(self, token: ScoredToken) -> dict[str, float]:
        """The likeliest tokens and the chosen one; of two that look the same, the likelier."""
        top: dict[str, float] = {}
        for id, logp in (*token.alternatives, (token.id, token.logp)):
            top.setdefault(token_name(self.tokenizer, id), _finite(logp))
        return top


def token_name(tokenizer: Tokenizer, id: int) -> str:
    r"""The token's text; where it is part of a character, its bytes as OpenAI writes them: `bytes:\xe2\x82`."""
    data = tokenizer.token_bytes(id)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def _finite(logp: float | None) -> float:
    return LEAST if logp is None else max(logp, LEAST)
