"""The verbs that teach a model what people, or rules, find better: align, reward.

Both make a run directory; `glass resume`, or the same command given again, goes on where it stopped.
"""

from collections.abc import Sequence
from pathlib import Path

from glasshouse.core.config import override
from glasshouse.core.environment import start_torch
from glasshouse.core.errors import ConfigError
from glasshouse.core.rundir import RunDirectory

OFFLINE, ONLINE = ("dpo", "kto"), ("grpo", "ppo", "rejection", "best_of_n")


def align(
    model: Path, method: str, preferences: Path | None, questions: Path | None, rewards: Sequence[str], out: Path,
    settings: Sequence[str],
) -> None:  # fmt: skip
    """Learn from a file of preferences or thumbs (dpo, kto), or from rewards on a file of questions (the others)."""
    if method in OFFLINE:
        if preferences is None or questions is not None or rewards:
            raise ConfigError(f"{method} learns from judged answers: give --preferences FILE alone")
        _begin(method, model, preferences, (), out, settings)
    elif method in ONLINE:
        if questions is None or preferences is not None or not rewards:
            raise ConfigError(f"{method} learns while answering: give --questions FILE and --reward NAME alone")
        _begin(method, model, questions, rewards, out, settings)
    else:
        raise ConfigError(f"--method is one of {', '.join((*OFFLINE, *ONLINE))}; got {method!r}")


def train_reward(model: Path, preferences: Path, out: Path, settings: Sequence[str]) -> None:
    """Train a reward model from a file of preferences or rankings."""
    _begin("reward", model, preferences, (), out, settings)


def _begin(method: str, model: Path, data: Path, rewards: Sequence[str], out: Path, settings: Sequence[str]) -> None:
    start_torch()
    from glasshouse.cli.life import learn_on
    from glasshouse.run.learning import learning_recipe

    learn_on(learning_recipe(method, model, data, rewards, override({}, settings)), RunDirectory(out))  # type: ignore[arg-type]
