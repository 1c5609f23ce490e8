"""How loss falls with parameters and data: L(N, D) = E + A / N^alpha + B / D^beta (arXiv:2203.15556, eq. 2).

Units: N parameters, D training tokens, L bits per byte of held-out text.
Left out: intervals of the fit; repetition of data (arXiv:2305.16264), which matters above four epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glasshouse.core.errors import DataError


@dataclass(frozen=True, slots=True)
class ScalingLaw:
    e: float
    a: float
    alpha: float
    b: float
    beta: float

    def bits_per_byte(self, n_parameters: float, n_tokens: float) -> float:
        return self.e + self.a / n_parameters**self.alpha + self.b / n_tokens**self.beta

    def best_parameters(self, flops: float) -> float:
        """The N that minimises L for `flops` = 6 N D: dL/dN = 0 gives N = G (C/6)^(beta / (alpha + beta))."""
        g = (self.alpha * self.a / (self.beta * self.b)) ** (1 / (self.alpha + self.beta))
        return g * (flops / 6) ** (self.beta / (self.alpha + self.beta))

    def best_tokens(self, n_parameters: float) -> float:
        """The D for which N is that minimum."""
        g = (self.alpha * self.a / (self.beta * self.b)) ** (1 / (self.alpha + self.beta))
        flops = 6 * (n_parameters / g) ** ((self.alpha + self.beta) / self.beta)
        return flops / (6 * n_parameters)


def fit_scaling_law(points: Sequence[tuple[float, float, float]]) -> ScalingLaw:
    """Least squares of log L over (N, D, L) points: a grid over the exponents, and for each the best E, A, B >= 0."""
    if len(points) < 5:
        raise DataError(f"a scaling law has five unknowns; {len(points)} measured points cannot fix them")
    n, d, loss = np.asarray(points, dtype=float).T
    best: tuple[float, ScalingLaw] | None = None
    for alpha in np.arange(0.1, 1.01, 0.05):
        for beta in np.arange(0.1, 1.01, 0.05):
            e, a, b = _non_negative_fit(np.stack([np.ones_like(n), n**-alpha, d**-beta], axis=1), loss)
            law = ScalingLaw(e, max(a, 1e-9), float(alpha), max(b, 1e-9), float(beta))
            error = float(np.sum((np.log(law.bits_per_byte(n, d)) - np.log(loss)) ** 2))
            if best is None or error < best[0]:
                best = (error, law)
    assert best is not None
    return best[1]


def _non_negative_fit(features: np.ndarray, target: np.ndarray) -> tuple[float, float, float]:
    """Relative least squares with coefficients kept at zero or above, by dropping the negative ones."""
    active = list(range(features.shape[1]))
    while active:
        solution, *_ = np.linalg.lstsq(features[:, active] / target[:, None], np.ones_like(target), rcond=None)
        if (solution >= 0).all():
            values = np.zeros(features.shape[1])
            values[active] = solution
            return float(values[0]), float(values[1]), float(values[2])
        active = [column for column, value in zip(active, solution) if value >= 0]
    return 0.0, 0.0, 0.0
