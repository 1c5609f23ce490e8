"""How loss falls with parameters and data: L(N, D) = E + A / N^alpha + B / D^beta (arXiv:2203.15556, eq. 2).

Units: N parameters, D training tokens; L in the unit its fit names: bits per byte of held-out text, or nats per token.
The fit is that paper's third approach, as repeated by arXiv:2404.10102: least Huber loss of log L, from many starts.
Left out: repetition of data (arXiv:2305.16264), which matters above four epochs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glasshouse.core.errors import DataError

HUBER_DELTA = 1e-3  # of log L, both papers': beyond a tenth of a percent an error counts by its size, not its square
START_EXPONENTS = (0.15, 0.3, 0.5, 0.8)  # of both N and D; for each pair the best E, A, B >= 0 are solved for
MAX_ITERATIONS = 200
N_DRAWS = 200

Point = tuple[float, float, float]  # N, D, L
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScalingLaw:
    e: float
    a: float
    alpha: float
    b: float
    beta: float

    def loss(self, n_parameters: float, n_tokens: float) -> float:
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


@dataclass(frozen=True, slots=True)
class ScalingFit:
    """A law, how far it may be trusted, and where it comes from.

    `draws` are laws fitted to resampled points (the bootstrap); `unit` is that of the loss; `origin` is for people.
    `misses` are the relative errors of the law on its own points: what a fit leaves unexplained.
    """

    law: ScalingLaw
    unit: str
    origin: str
    draws: tuple[ScalingLaw, ...] = ()
    misses: tuple[float, ...] = ()

    def interval(self, n_parameters: float, n_tokens: float, confidence: float = 0.95) -> tuple[float, float]:
        """Percentiles of what the draws predict, each spread by every miss: of a new run, not of the mean of many."""
        found = np.array([law.loss(n_parameters, n_tokens) for law in self.draws or (self.law,)])
        spread = np.outer(found, 1 + np.asarray(self.misses or (0.0,))).ravel()
        low, high = np.quantile(spread, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "draws": [asdict(draw) for draw in self.draws], "misses": list(self.misses)}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "ScalingFit":
        return ScalingFit(
            ScalingLaw(**record["law"]), str(record["unit"]), str(record["origin"]),
            tuple(ScalingLaw(**draw) for draw in record["draws"]), tuple(map(float, record["misses"])),
        )  # fmt: skip


def fit_scaling_law(points: Sequence[Point]) -> ScalingLaw:
    """The law nearest to (N, D, L) points: the best of the local minima that several starts lead to."""
    n, d, loss = _columns(points)
    found = [_descend(start, n, d, loss) for start in _starts(n, d, loss)]
    return _law(min(found, key=lambda theta: _objective(_residuals(theta, n, d, loss))))


def fit_with_draws(
    points: Sequence[Point], *, unit: str, origin: str, n_draws: int = N_DRAWS, seed: int = 0
) -> ScalingFit:
    """The fit, and `n_draws` more on points resampled with replacement (those that cannot fix five unknowns left out).

    The best draw starts from the law itself: a resampled set has its minimum near.
    """
    law = fit_scaling_law(points)
    n, d, loss = _columns(points)
    misses = loss / np.array([law.loss(*point[:2]) for point in points]) - 1
    generator = np.random.default_rng(seed)
    draws = []
    for _ in range(n_draws):
        chosen = generator.integers(len(points), size=len(points))
        if len(set(n[chosen])) > 1 and len(set(d[chosen])) > 1 and len(set(chosen.tolist())) >= 5:
            draws.append(_law(_descend(_theta(law), n[chosen], d[chosen], loss[chosen])))
    return ScalingFit(law, unit, origin, tuple(draws), tuple(float(miss) for miss in misses))


def _columns(points: Sequence[Point]) -> tuple[Array, Array, Array]:
    if len(points) < 5:
        raise DataError(f"a scaling law has five unknowns; {len(points)} measured points cannot fix them")
    n, d, loss = np.asarray(points, dtype=float).T
    if len(set(n)) < 2 or len(set(d)) < 2:
        raise DataError("a scaling law needs points of at least two sizes and two numbers of tokens")
    return n, d, loss


# ---- theta = (log A, log B, log E, alpha, beta): positive without constraints ---------------------------------------


def _theta(law: ScalingLaw) -> Array:
    return np.array([np.log(law.a), np.log(law.b), np.log(law.e), law.alpha, law.beta])


def _law(theta: Array) -> ScalingLaw:
    log_a, log_b, log_e, alpha, beta = map(float, theta)
    return ScalingLaw(float(np.exp(log_e)), float(np.exp(log_a)), alpha, float(np.exp(log_b)), beta)


def _terms(theta: Array, n: Array, d: Array) -> Array:
    """(3, points): logs of A / N^alpha, B / D^beta and E."""
    return np.stack([theta[0] - theta[3] * np.log(n), theta[1] - theta[4] * np.log(d), np.full_like(n, theta[2])])


def _residuals(theta: Array, n: Array, d: Array, loss: Array) -> Array:
    residuals: Array = np.logaddexp.reduce(_terms(theta, n, d), axis=0) - np.log(loss)
    return residuals


def _objective(residuals: Array) -> float:
    size = np.abs(residuals)
    huber = np.where(size <= HUBER_DELTA, 0.5 * size**2, HUBER_DELTA * (size - 0.5 * HUBER_DELTA))
    return float(huber.sum())


def _descend(theta: Array, n: Array, d: Array, loss: Array) -> Array:
    """Levenberg-Marquardt with Huber weights; the Jacobian is each term's share of the loss."""
    damping, residuals = 1e-3, _residuals(theta, n, d, loss)
    best = _objective(residuals)
    for _ in range(MAX_ITERATIONS):
        terms = _terms(theta, n, d)
        share = np.exp(terms - np.logaddexp.reduce(terms, axis=0))
        jacobian = np.stack([share[0], share[1], share[2], -share[0] * np.log(n), -share[1] * np.log(d)], axis=1)
        weight = np.minimum(1.0, HUBER_DELTA / np.maximum(np.abs(residuals), 1e-12))
        hessian = jacobian.T @ (weight[:, None] * jacobian)
        gradient = jacobian.T @ (weight * residuals)
        step = np.linalg.solve(hessian + damping * (np.diag(np.diag(hessian)) + 1e-12 * np.eye(5)), -gradient)
        moved = theta + np.clip(step, -1, 1)
        objective = _objective(new := _residuals(moved, n, d, loss))
        if objective < best:
            gain, theta, residuals, best, damping = best - objective, moved, new, objective, max(damping / 3, 1e-9)
            if gain < 1e-12 * best:
                break
        else:
            damping *= 4
            if damping > 1e9:
                break
    return theta


def _starts(n: Array, d: Array, loss: Array) -> Iterable[Array]:
    for alpha in START_EXPONENTS:
        for beta in START_EXPONENTS:
            e, a, b = _non_negative_fit(np.stack([np.ones_like(n), n**-alpha, d**-beta], axis=1), loss)
            yield _theta(ScalingLaw(max(e, 0.01 * loss.min()), max(a, 1e-3), alpha, max(b, 1e-3), beta))


def _non_negative_fit(features: Array, target: Array) -> tuple[float, float, float]:
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
