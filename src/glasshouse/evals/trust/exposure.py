"""Exposure: how far a secret stands out among all that it might have been, in bits.

exposure = log2 |R| - log2 rank, the rank of the secret among the |R| possible ones, the likeliest first.  The paper
(arXiv:1802.08232, definition 4) counts them all; 10^8 are too many, so the rank is estimated among N drawn ones
(section 4.3):

    (N + 1) / rank          while a drawn one is at least as likely as the secret
    beyond                  the secret is likelier than all N: a normal distribution through their log-likelihoods says
                            how rare one like it would be, and never more than |R|.  Then `is_extrapolated`.

A secret that the model knows nothing of has a rank that is uniform over 1 .. N + 1: `chance(N)`, 1.44 bits for large N.
Left out: the skew-normal fit of the paper (the scores of equally long digit strings are nearly symmetric).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Exposure:
    bits: float
    rank: int  # among the drawn ones and itself; 1 is the likeliest
    is_extrapolated: bool


def exposure(logp: float, logps_drawn: Sequence[float], n_possible: float) -> Exposure:
    """Of a secret with log-likelihood `logp` among drawn ones; ties count against it.

    exposure(-3, [-1, -5, -6], 1e8) -> rank 2 of 4: 1 bit
    """
    drawn = np.asarray(logps_drawn, dtype=np.float64)
    if not len(drawn):
        raise ValueError("exposure needs drawn secrets to compare with")
    rank = 1 + int((drawn >= logp).sum())
    bits = math.log2((len(drawn) + 1) / rank)
    if rank > 1:
        return Exposure(bits, rank, False)
    spread = float(drawn.std())
    if spread == 0:
        return Exposure(bits, rank, True)
    beyond = -log2_upper_tail((logp - float(drawn.mean())) / spread)
    return Exposure(min(max(bits, beyond), math.log2(n_possible)), rank, True)


def chance(n_drawn: int) -> float:
    """The mean exposure, in bits, of a secret that is like any other."""
    ranks = np.arange(1, n_drawn + 2)
    return float(np.log2((n_drawn + 1) / ranks).mean())


def chance_deviation(n_drawn: int) -> float:
    """The standard deviation of the exposure of such a secret, in bits."""
    ranks = np.arange(1, n_drawn + 2)
    return float(np.log2((n_drawn + 1) / ranks).std())


def log2_upper_tail(z: float) -> float:
    """log2 of the probability that a standard normal exceeds z."""
    if z < 30:
        return math.log2(0.5 * math.erfc(z / math.sqrt(2)))
    return (-z * z / 2 - math.log(z * math.sqrt(2 * math.pi))) / math.log(2)  # erfc is 0 there; right to 1 in 900
