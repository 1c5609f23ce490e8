"""From logits to the next token: small pure functions over a batch of rows, applied in one literal order.

Shapes: B rows, V vocab.  Units: probabilities are plain, temperature divides logits (nats).
Every row has its own settings, so the values of one request are tensors of length B here.
The order is the one `transformers` uses (penalty, temperature, top-k, top-p, min-p); tests compare the distributions.
Randomness is one number u in [0, 1) a token, a pure function of (the request's seed, the token's index): what a request
gets can depend neither on its neighbours in a batch nor on how the batch was cut.
Left out: typical-p, mirostat, logit bias (one function and one line here, each).
"""

import secrets
from collections.abc import Sequence

import numpy as np
import torch
from pydantic import field_validator
from torch import Tensor

from glasshouse.core.config import Config, parse_config


class SamplingConfig(Config):
    """How tokens are chosen and when to stop.  `SamplingConfig.of` takes untrusted values and raises `ConfigError`."""

    temperature: float = 0.0  # 0 takes the likeliest token (greedy)
    top_k: int | None = None  # keep the k likeliest tokens; equals at the edge stay
    top_p: float = 1.0  # keep the fewest tokens whose probabilities reach p
    min_p: float = 0.0  # keep tokens at least this share of the likeliest one's probability (arXiv:2407.01082)
    repetition_penalty: float = 1.0  # divides (multiplies, if negative) logits of tokens seen so far (arXiv:1909.05858)
    max_tokens: int = 256
    stop: tuple[str, ...] = ()  # generation ends before the first of these; nothing of it is shown
    seed: int | None = None  # None: fresh randomness each time

    @classmethod
    def of(cls, **values: object) -> "SamplingConfig":
        """Checked settings; a wrong one raises `ConfigError` with what was given and what is allowed."""
        return parse_config(cls, values)

    @field_validator("temperature")
    @classmethod
    def _temperature(cls, value: float) -> float:
        return _within(value, 0.0, 100.0, "0 is greedy, 0.7 a usual choice, 1 the model's own distribution")

    @field_validator("top_k")
    @classmethod
    def _top_k(cls, value: int | None) -> int | None:
        if value is not None and value < 1:
            raise ValueError("a whole number from 1 up, or left out to keep every token")
        return value

    @field_validator("top_p")
    @classmethod
    def _top_p(cls, value: float) -> float:
        if not 0.0 < value <= 1.0:
            raise ValueError("a number above 0 and up to 1; 1 keeps every token")
        return value

    @field_validator("min_p")
    @classmethod
    def _min_p(cls, value: float) -> float:
        return _within(value, 0.0, 1.0, "0 keeps every token")

    @field_validator("repetition_penalty")
    @classmethod
    def _repetition_penalty(cls, value: float) -> float:
        if not 0.0 < value <= 100.0:
            raise ValueError("a number above 0; 1 changes nothing, 1.1 is a usual choice")
        return value

    @field_validator("max_tokens")
    @classmethod
    def _max_tokens(cls, value: int) -> int:
        if value < 1:
            raise ValueError("a whole number from 1 up")
        return value

    @field_validator("stop")
    @classmethod
    def _stop(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "" in value:
            raise ValueError("an empty stop string would end every answer before it begins; leave it out")
        return value


def _within(value: float, low: float, high: float, hint: str) -> float:
    if not low <= value <= high:  # also refuses nan
        raise ValueError(f"a number from {low:g} to {high:g}; {hint}")
    return value


def penalise_repetition(logits_BV: Tensor, seen_BV: Tensor, penalty_B: Tensor) -> Tensor:
    """Make tokens seen in the prompt or the answer less likely (penalty > 1)."""
    penalised_BV = torch.where(logits_BV < 0, logits_BV * penalty_B[:, None], logits_BV / penalty_B[:, None])
    return torch.where(seen_BV, penalised_BV, logits_BV)


def scale_by_temperature(logits_BV: Tensor, temperature_B: Tensor) -> Tensor:
    """Divide by the temperature; rows at 0 stay as they are (`choose` takes their largest)."""
    return logits_BV / torch.where(temperature_B == 0, torch.ones_like(temperature_B), temperature_B)[:, None]


def keep_top_k(logits_BV: Tensor, k_B: Tensor) -> Tensor:
    """Drop all below the k-th largest.  k beyond the vocabulary keeps everything."""
    k_B = k_B.clamp(max=logits_BV.shape[1])
    largest_BK = logits_BV.topk(int(k_B.max()), dim=1).values
    return _drop(logits_BV, logits_BV < largest_BK.gather(1, k_B[:, None] - 1))


def keep_top_p(logits_BV: Tensor, p_B: Tensor) -> Tensor:
    """Drop each token that has, among the likelier ones, p of the probability already."""
    sorted_BV, order_BV = logits_BV.sort(dim=1, descending=True, stable=True)
    p_sorted_BV = sorted_BV.softmax(dim=1)
    is_dropped_BV = p_sorted_BV.cumsum(dim=1) - p_sorted_BV >= p_B[:, None]
    is_dropped_BV[:, 0] = False
    is_dropped_BV &= (p_B < 1)[:, None]  # rounding must not drop the tail of a row that asked for all
    return _drop(logits_BV, torch.zeros_like(is_dropped_BV).scatter_(1, order_BV, is_dropped_BV))


def keep_min_p(logits_BV: Tensor, p_B: Tensor) -> Tensor:
    """Drop tokens whose probability is under p times the largest one."""
    return _drop(logits_BV, logits_BV < logits_BV.amax(dim=1, keepdim=True) + p_B.log()[:, None])


def draw(logits_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """The token in whose stretch of the cumulative probability u falls: `ids_B`.  A dropped token is never drawn."""
    cumulative_BV = logits_BV.double().softmax(dim=1).cumsum(dim=1)
    target_B1 = uniform_B[:, None] * cumulative_BV[:, -1:]
    return torch.searchsorted(cumulative_BV, target_B1, right=True).squeeze(1)


def _drop(logits_BV: Tensor, is_dropped_BV: Tensor) -> Tensor:
    return logits_BV.masked_fill(is_dropped_BV, -torch.inf)


def uniforms(seeds: Sequence[int], n_tokens: int) -> np.ndarray:
    """`(len(seeds), n_tokens)` numbers in [0, 1): splitmix64 of (seed, index), 48 bits each.

    48 and not 53 bits, so that u times a sum rounded up a little still falls below that sum.
    """
    seed_B1 = np.array([seed & 0xFFFF_FFFF_FFFF_FFFF for seed in seeds], dtype=np.uint64)[:, None]
    index_T = np.arange(1, n_tokens + 1, dtype=np.uint64)
    mixed_BT = _splitmix(_splitmix(seed_B1) + index_T * np.uint64(0x9E37_79B9_7F4A_7C15))
    return (mixed_BT >> np.uint64(16)).astype(np.float64) * 2.0**-48


def _splitmix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return x ^ (x >> np.uint64(31))


class Sampler:
    """Settings of B requests as tensors, and the tokens each has seen.  A setting no row uses costs nothing."""

    def __init__(self, configs: Sequence[SamplingConfig], prompts: Sequence[Sequence[int]], vocab_size: int,
                 n_tokens: int, device: torch.device | str = "cpu") -> None:  # fmt: skip
        """`n_tokens` is the most any row will be asked for (`choose` takes an index below it)."""

        def floats(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        self.temperature_B = floats([c.temperature for c in configs])
        self.top_k_B = torch.tensor([min(c.top_k or vocab_size, vocab_size) for c in configs], device=device)
        self.top_p_B = floats([c.top_p for c in configs])
        self.min_p_B = floats([c.min_p for c in configs])
        self.penalty_B = floats([c.repetition_penalty for c in configs])
        is_sampled = any(c.temperature > 0 for c in configs)
        self.uniform_BT = _uniforms_of(configs, n_tokens, device) if is_sampled else None
        penalises = any(c.repetition_penalty != 1 for c in configs)
        self.seen_BV = _seen(prompts, vocab_size, device) if penalises else None
        self._uses_top_k = is_sampled and any(c.top_k is not None for c in configs)
        self._uses_top_p = is_sampled and any(c.top_p < 1 for c in configs)
        self._uses_min_p = is_sampled and any(c.min_p > 0 for c in configs)

    def shape_logits(self, logits_BV: Tensor) -> Tensor:
        """The literal order in which settings act."""
        if self.seen_BV is not None:
            logits_BV = penalise_repetition(logits_BV, self.seen_BV, self.penalty_B)
        if self.uniform_BT is not None:
            logits_BV = scale_by_temperature(logits_BV, self.temperature_B)
        if self._uses_top_k:
            logits_BV = keep_top_k(logits_BV, self.top_k_B)
        if self._uses_top_p:
            logits_BV = keep_top_p(logits_BV, self.top_p_B)
        if self._uses_min_p:
            logits_BV = keep_min_p(logits_BV, self.min_p_B)
        return logits_BV

    def choose(self, logits_BV: Tensor, index: int) -> Tensor:
        """The tokens `ids_B` at place `index` of each answer; remembers them for the repetition penalty."""
        shaped_BV = self.shape_logits(logits_BV)
        ids_B = shaped_BV.argmax(dim=1)
        if self.uniform_BT is not None:
            ids_B = torch.where(self.temperature_B == 0, ids_B, draw(shaped_BV, self.uniform_BT[:, index]))
        if self.seen_BV is not None:
            self.seen_BV.scatter_(1, ids_B[:, None], True)
        return ids_B

    def select(self, rows: Tensor) -> None:
        """Keep only these rows, in this order."""
        for name in ("temperature_B", "top_k_B", "top_p_B", "min_p_B", "penalty_B", "uniform_BT", "seen_BV"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else value[rows])


def _uniforms_of(configs: Sequence[SamplingConfig], n_tokens: int, device: torch.device | str) -> Tensor:
    seeds = [secrets.randbits(63) if c.seed is None else c.seed for c in configs]
    return torch.from_numpy(uniforms(seeds, n_tokens)).to(device)


def _seen(prompts: Sequence[Sequence[int]], vocab_size: int, device: torch.device | str) -> Tensor:
    seen_BV = torch.zeros(len(prompts), vocab_size, dtype=torch.bool, device=device)
    for row, prompt in enumerate(prompts):
        seen_BV[row, torch.tensor(list(prompt), device=device)] = True
    return seen_BV
