"""A ladder: small models of several sizes and lengths of training, the law that they follow, and its test.

The test is honest in one way only: the prediction for the held-out size is fixed before that size is trained.
Units: seconds, tokens, parameters; losses in bits per byte of held-out text.  Pure: training is passed in by `run`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glasshouse.core.errors import ConfigError
from glasshouse.core.files import read_json
from glasshouse.plan.scaling import ScalingFit, fit_with_draws

UNIT = "bits/byte"
MIN_STEPS = 200  # shorter ones lie off the law of longer ones: with 105 steps among 211 and 421 the next size's loss
# was foretold 2.5 % too high, without them 1.4 %
HELD_OUT_SHARE = 1.0  # of the longest training: extrapolation is in size


@dataclass(frozen=True, slots=True)
class Rung:
    """One training.  `seconds` is what it is expected to take."""

    width: int
    parameters: int
    steps: int
    tokens: int
    seconds: float
    is_held_out: bool = False

    @property
    def name(self) -> str:
        return f"{self.width}-wide-{self.steps}-steps"


@dataclass(frozen=True, slots=True)
class Step:
    """What is known of a size before the ladder is laid out: its parameters, and seconds of one optimizer step."""

    parameters: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """Made from the other rungs alone; `interval` of 95 %."""

    parameters: int
    tokens: int
    loss: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def lay_out(
    sizes: Mapping[int, Step], held_out: int, shares: Sequence[float], batch_tokens: int, seconds: float
) -> list[Rung]:
    """Rungs that together take `seconds`: every size for each share of the longest training, the held-out size last.

    sizes: by width, the held-out one among them.  Raises `ConfigError` where the time is too short, saying what is not.
    """
    climbed = {width: step for width, step in sizes.items() if width != held_out}
    full_s = sum(step.seconds for step in climbed.values()) * sum(shares) + sizes[held_out].seconds * HELD_OUT_SHARE
    n_steps = seconds / full_s
    if n_steps * min(shares) < MIN_STEPS:
        needed_m = int(MIN_STEPS / min(shares) * full_s / 60) + 1
        raise ConfigError(
            f"{seconds / 60:.0f} minutes allow {n_steps * min(shares):.0f} steps for the shortest trainings, fewer "
            f"than the {MIN_STEPS} that say something. Give about --time {needed_m}m, or smaller or fewer widths"
        )

    def rung(width: int, share: float, is_held_out: bool = False) -> Rung:
        steps = round(n_steps * share)
        step = sizes[width]
        return Rung(width, step.parameters, steps, steps * batch_tokens, steps * step.seconds, is_held_out)

    rungs = [rung(width, share) for width in sorted(climbed) for share in sorted(shares)]
    return [*sorted(rungs, key=lambda r: r.seconds), rung(held_out, HELD_OUT_SHARE, is_held_out=True)]


def fit_rungs(rungs: Iterable[tuple[Rung, float]], origin: str) -> ScalingFit:
    """The law of (rung, loss) pairs; held-out rungs are left out whether trained or not."""
    points = [(float(r.parameters), float(r.tokens), loss) for r, loss in rungs if not r.is_held_out]
    return fit_with_draws(points, unit=UNIT, origin=origin)


def predict_rung(fit: ScalingFit, rung: Rung) -> Prediction:
    loss = fit.law.loss(rung.parameters, rung.tokens)
    return Prediction(rung.parameters, rung.tokens, loss, *fit.interval(rung.parameters, rung.tokens))


def check_sizes(widths: Sequence[int], held_out: int, shares: Sequence[float]) -> None:
    """Refuse a ladder whose points could not fix a law."""
    if len(set(widths)) != len(widths) or len(widths) < 2 or len(set(shares)) < 2 or len(widths) * len(shares) < 5:
        raise ConfigError(
            f"a ladder needs at least two widths and two lengths of training, and five trainings in all; got widths "
            f"{', '.join(map(str, widths))} and {len(shares)} lengths"
        )
    if held_out in widths:
        raise ConfigError(f"the held-out width {held_out} is among the widths {', '.join(map(str, widths))}: "
                          "it would predict what it has seen")  # fmt: skip


def read_fit(folder: Path) -> ScalingFit:
    """The fit of a ladder that has come to its prediction; `ConfigError` where there is none."""
    path = folder / "ladder.json"
    record = read_json(path) if path.is_file() else {}
    if "fit" not in record:
        raise ConfigError(
            f"{folder} holds no finished ladder (no fit in ladder.json). Make one: glass ladder --out {folder}"
        )
    return ScalingFit.from_json(record["fit"])
