"""From logits to the next token: the settings of a request, and small pure functions over a batch of rows.

Shapes: B rows, V vocab.  Units: probabilities are plain, temperature divides logits (nats).
Every row has its own settings, so the values of one request are tensors of length B here.
Randomness is one number u in [0, 1) a token, a pure function of (the request's seed, the token's index): what a request
gets can depend neither on its neighbours in a batch nor on how the batch was cut.
Left out: typical-p, mirostat (one function here and one line in `sampler`, each).
"""

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import field_validator
from torch import Tensor

from glasshouse.core.config import Config, parse_config
from glasshouse.infer.doubt import Doubt
from glasshouse.infer.native.distributions import draw_rows, is_native, log_sums

MAX_ALTERNATIVES = 20  # OpenAI's limit
MASK_64 = 0xFFFF_FFFF_FFFF_FFFF


LEAST = 1e-6  # temperature and repetition penalty: smaller ones change nothing but end in nan (0 times infinity)


class SamplingConfig(Config):
    """How tokens are chosen and when to stop.  `SamplingConfig.of` takes untrusted values and raises `ConfigError`."""

    temperature: float = 0.0  # 0 takes the likeliest token (greedy)
    top_k: int | None = None  # keep the k likeliest tokens; equals at the edge stay
    top_p: float = 1.0  # keep the fewest tokens whose probabilities reach p
    min_p: float = 0.0  # keep tokens at least this share of the likeliest one's probability (arXiv:2407.01082)
    repetition_penalty: float = 1.0  # divides (multiplies, if negative) logits of tokens seen so far (arXiv:1909.05858)
    presence_penalty: float = 0.0  # taken from the logits of every token generated so far (OpenAI's)
    frequency_penalty: float = 0.0  # taken from them once for every time they were generated (OpenAI's)
    logit_bias: dict[int, float] = {}  # id: added to its logit; -100 bans it (OpenAI's)
    max_tokens: int = 256
    stop: tuple[str, ...] = ()  # generation ends before the first of these; nothing of it is shown
    stop_ids: tuple[int, ...] = ()  # generation ends with the first of these
    ignores_end: bool = False  # go on after the tokens that end an answer: for measuring
    seed: int | None = None  # None: fresh randomness each time
    n_logprobs: int = 0  # the likeliest tokens that are reported beside each chosen one
    doubt: Doubt | None = None  # an answer that is too unlikely gives way to another text; held until it is whole
    scales_logps: bool = False  # log-probabilities are reported at this temperature: what learning from samples needs

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

    @field_validator("presence_penalty", "frequency_penalty")
    @classmethod
    def _additive_penalty(cls, value: float) -> float:
        return _within(value, -2.0, 2.0, "0 changes nothing, above 0 makes repeating less likely")

    @field_validator("logit_bias")
    @classmethod
    def _logit_bias(cls, value: dict[int, float]) -> dict[int, float]:
        for bias in value.values():
            _within(bias, -100.0, 100.0, "-100 bans a token")
        return value

    @field_validator("n_logprobs")
    @classmethod
    def _n_logprobs(cls, value: int) -> int:
        return int(_within(value, 0, MAX_ALTERNATIVES, "how many likely tokens are reported beside the chosen one"))

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
    penalty_B1 = penalty_B.clamp(min=LEAST)[:, None]
    penalised_BV = torch.where(logits_BV < 0, logits_BV * penalty_B1, logits_BV / penalty_B1)
    return torch.where(seen_BV, penalised_BV, logits_BV)


def penalise_counts(logits_BV: Tensor, count_BV: Tensor, presence_B: Tensor, frequency_B: Tensor) -> Tensor:
    """Lower what was generated before: by `presence` at all, by `frequency` each time."""
    return logits_BV - (count_BV > 0) * presence_B[:, None] - count_BV * frequency_B[:, None]


def scale_by_temperature(logits_BV: Tensor, temperature_B: Tensor) -> Tensor:
    """Divide by the temperature; rows at 0 stay as they are (`choose` takes their largest)."""
    divisor_B = torch.where(temperature_B == 0, torch.ones_like(temperature_B), temperature_B.clamp(min=LEAST))
    return logits_BV / divisor_B[:, None]


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
    if is_native(logits_BV):
        return draw_rows(logits_BV, uniform_B)
    cumulative_BV = logits_BV.double().softmax(dim=1).cumsum(dim=1)
    target_B1 = uniform_B[:, None] * cumulative_BV[:, -1:]
    return torch.searchsorted(cumulative_BV, target_B1, right=True).squeeze(1)


class LogProbabilities:
    """Of rows of logits, in nats: those of some tokens are looked up, few rows are needed whole.

    As `log_softmax`, but the sum is taken in fp64 and its log rounded once.
    """

    def __init__(self, logits_BV: Tensor) -> None:
        self._logits_BV = logits_BV
        if is_native(logits_BV):
            self._most_B, self._log_sum_B = log_sums(logits_BV)
        else:
            self._most_B = logits_BV.amax(dim=1)
            self._log_sum_B = (logits_BV - self._most_B[:, None]).double().exp().sum(dim=1).log().float()

    def of(self, ids_B: Tensor, rows: list[int]) -> Tensor:
        """One token's in each of `rows`."""
        return (self._logits_BV[rows, ids_B] - self._most_B[rows]) - self._log_sum_B[rows]

    def row(self, row: int) -> Tensor:
        return (self._logits_BV[row] - self._most_B[row]) - self._log_sum_B[row]


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


def uniform(seed: int, index: int) -> float:
    """One number of `uniforms`, without NumPy: `uniforms([seed], index + 1)[0, index]`.

    >>> uniform(7, 2) == uniforms([7], 3)[0, 2]
    True
    """
    mixed = (_splitmix_int(seed & MASK_64) + (index + 1) * 0x9E37_79B9_7F4A_7C15) & MASK_64
    return (_splitmix_int(mixed) >> 16) * 2.0**-48


def _splitmix_int(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58_476D_1CE4_E5B9) & MASK_64
    x = ((x ^ (x >> 27)) * 0x94D0_49BB_1331_11EB) & MASK_64
    return x ^ (x >> 31)


def _splitmix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return x ^ (x >> np.uint64(31))
