"""The next token of many requests, each by its own settings: what a request remembers, and the literal order.

Shapes: R rows of logits, B of them that use a setting, V vocab.  Log-probabilities in nats.
The order is the one `transformers` uses (penalties, temperature, top-k, top-p, min-p; bias and grammar come first);
tests compare the distributions.  A setting that no row uses costs nothing.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from glasshouse.infer.sampling import (
    SamplingConfig,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalise_counts,
    penalise_repetition,
    scale_by_temperature,
    uniform,
)


class GrammarState(Protocol):
    """Where one answer stands in its grammar (`infer.grammar`)."""

    @property
    def is_finished(self) -> bool: ...

    def mask(self) -> Tensor: ...

    def accept(self, id: int) -> None: ...


class Choice:
    """How one request chooses: settings, seed, and what it has seen so far."""

    __slots__ = ("bias", "config", "count_V", "grammar", "is_plain", "n_chosen", "seed", "seen_V")

    def __init__(
        self, config: SamplingConfig, prompt: Sequence[int], vocab_size: int, grammar: GrammarState | None = None
    ) -> None:
        self.config, self.grammar, self.n_chosen = config, grammar, 0
        self.seed = secrets.randbits(63) if config.seed is None else config.seed
        self.seen_V = _seen(prompt, vocab_size) if config.repetition_penalty != 1 else None
        counts = config.presence_penalty != 0 or config.frequency_penalty != 0
        self.count_V = torch.zeros(vocab_size) if counts else None
        self.bias = _bias(config) if config.logit_bias else None
        self.is_plain = config.temperature == 0 and not (
            grammar or self.bias or self.seen_V is not None or self.count_V is not None
        )

    def accept(self, id: int) -> None:
        """`id` was chosen."""
        self.n_chosen += 1
        if self.is_plain:
            return
        if self.seen_V is not None:
            self.seen_V[id] = True
        if self.count_V is not None:
            self.count_V[id] += 1
        if self.grammar is not None:
            self.grammar.accept(id)


def choose(logits_RV: Tensor, choices: Sequence[Choice], masks: Sequence[Tensor | None] | None = None) -> Tensor:
    """The next token of each: `ids_R`.  `masks` holds what each row's grammar allows."""
    if all(c.is_plain for c in choices):
        return logits_RV.argmax(dim=1)
    shaped_RV = shape_logits(logits_RV, choices, masks)
    ids_R = shaped_RV.argmax(dim=1)
    rows = [r for r, c in enumerate(choices) if c.config.temperature > 0]
    if rows:
        uniform_B = [uniform(choices[r].seed, choices[r].n_chosen) for r in rows]
        drawn_B = draw(shaped_RV[rows], torch.tensor(uniform_B, dtype=torch.float64, device=logits_RV.device))
        ids_R[rows] = drawn_B
    return ids_R


def shape_logits(logits_RV: Tensor, choices: Sequence[Choice], masks: Sequence[Tensor | None] | None = None) -> Tensor:
    """A copy of the logits with every setting applied, in the literal order."""
    logits_RV = logits_RV.clone()
    for row, mask_V in enumerate(masks or ()):
        if mask_V is not None:
            logits_RV[row].masked_fill_(~mask_V.to(logits_RV.device), -torch.inf)
    for row, choice in enumerate(choices):
        if choice.bias is not None:
            logits_RV[row, choice.bias[0]] += choice.bias[1].to(logits_RV.device)
    for is_used, apply in SETTINGS:
        rows = [r for r, c in enumerate(choices) if is_used(c)]
        if rows:
            logits_RV[rows] = apply(logits_RV[rows], [choices[r] for r in rows])
    return logits_RV


def _repetition(logits_BV: Tensor, choices: Sequence[Choice]) -> Tensor:
    seen_BV = torch.stack([c.seen_V for c in choices if c.seen_V is not None]).to(logits_BV.device)
    return penalise_repetition(logits_BV, seen_BV, _values(logits_BV, [c.config.repetition_penalty for c in choices]))


def _counts(logits_BV: Tensor, choices: Sequence[Choice]) -> Tensor:
    count_BV = torch.stack([c.count_V for c in choices if c.count_V is not None]).to(logits_BV.device)
    presence_B = _values(logits_BV, [c.config.presence_penalty for c in choices])
    return penalise_counts(
        logits_BV, count_BV, presence_B, _values(logits_BV, [c.config.frequency_penalty for c in choices])
    )


def _temperature(logits_BV: Tensor, choices: Sequence[Choice]) -> Tensor:
    return scale_by_temperature(logits_BV, _values(logits_BV, [c.config.temperature for c in choices]))


def _top_k(logits_BV: Tensor, choices: Sequence[Choice]) -> Tensor:
    k_B = [min(c.config.top_k or logits_BV.shape[1], logits_BV.shape[1]) for c in choices]
    return keep_top_k(logits_BV, torch.tensor(k_B, device=logits_BV.device))


def _top_p(logits_BV: Tensor, choices: Sequence[Choice]) -> Tensor:
    return keep_top_p(logits_BV, _values(logits_BV, [c.config.top_p for c in choices]))


def _min_p(logits_BV: Tensor, choices: Sequence[Choice]) -> Tensor:
    return keep_min_p(logits_BV, _values(logits_BV, [c.config.min_p for c in choices]))


def _is_sampled(choice: Choice) -> bool:
    return choice.config.temperature > 0


Apply = Callable[[Tensor, Sequence[Choice]], Tensor]
SETTINGS: tuple[tuple[Callable[[Choice], bool], Apply], ...] = (
    (lambda c: c.seen_V is not None, _repetition),
    (lambda c: c.count_V is not None, _counts),
    (_is_sampled, _temperature),
    (lambda c: _is_sampled(c) and c.config.top_k is not None, _top_k),
    (lambda c: _is_sampled(c) and c.config.top_p < 1, _top_p),
    (lambda c: _is_sampled(c) and c.config.min_p > 0, _min_p),
)


def _values(like: Tensor, values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device)


def _seen(prompt: Sequence[int], vocab_size: int) -> Tensor:
    seen_V = torch.zeros(vocab_size, dtype=torch.bool)
    # a prompt may hold ids beyond the tokenizer's (a padded vocabulary); they can never be chosen
    seen_V[torch.tensor([i for i in prompt if i < vocab_size], dtype=torch.long)] = True
    return seen_V


def _bias(config: SamplingConfig) -> tuple[Tensor, Tensor]:
    return torch.tensor(list(config.logit_bias)), torch.tensor(list(config.logit_bias.values()), dtype=torch.float32)
