"""What a judge needs of a model: three methods, so that anything that has them can be judged.

A prompt is a text that is continued as it stands, or messages that the model's own chat template renders.
Units: log-probabilities in nats, summed over tokens; bytes of UTF-8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from glasshouse.core.errors import ConfigError
from glasshouse.core.records import Message
from glasshouse.infer import SamplingConfig

Prompt = str | tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Of a continuation: `logp_sum`; whether greedy decoding would say it; how long it is."""

    logp_sum: float
    is_greedy: bool
    n_tokens: int
    n_bytes: int


class TooLong(ConfigError):
    """Prompts that do not fit into the model's context; `indices` says which, `n_tokens` how long each one is.

    Raised before any work is done.
    """

    def __init__(self, indices: Sequence[int], n_tokens: Sequence[int], n_prompts: int, max_seq_len: int) -> None:
        self.indices, self.n_tokens, self.max_seq_len = tuple(indices), tuple(n_tokens), max_seq_len
        super().__init__(
            f"{len(indices)} of {n_prompts} prompts are longer than the model's context of {max_seq_len} tokens; the "
            f"first is number {indices[0]} with {n_tokens[0]}. Shorten them, or use a model trained with a larger "
            "max_seq_len."
        )


class LanguageModel(Protocol):
    """Results stand in the order of what was given."""

    def likelihoods(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Likelihood]:
        """How likely each continuation is after its context.  After "" a text stands at its beginning."""
        ...

    def rolling_likelihoods(self, texts: Sequence[str]) -> list[Likelihood]:
        """How likely each text is as a whole, however long it is."""
        ...

    def generate(self, prompts: Sequence[Prompt], options: SamplingConfig) -> list[str]:
        """What the model says to each prompt."""
        ...
