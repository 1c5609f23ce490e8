"""What is written down of every iteration of online learning, and the alarms: too far from the reference, too sure.

Units: nats a token, rewards.
"""

from pydantic import Field

from glasshouse.align.rollout_loader import IterationRecord
from glasshouse.core.config import Config
from glasshouse.core.rundir import RunDirectory
from glasshouse.core.terminal import Terminal


class AlarmConfig(Config):
    max_kl: float = Field(default=1.0, gt=0)  # nats a token away from the reference: it hardly knows its language
    min_entropy: float = Field(default=0.01, ge=0)  # nats a token: all answers are the same, nothing is tried any more


class Logbook:
    """Metrics of each iteration at the step it begins with, once; a warning when a limit is passed, not while it stays
    so."""

    def __init__(
        self, config: AlarmConfig, run: RunDirectory, stage: str, terminal: Terminal, steps_per_iteration: int
    ) -> None:
        self.config, self.run, self.stage, self.terminal = config, run, stage, terminal
        self.steps_per_iteration = steps_per_iteration
        self._told: set[int] | None = None
        self._alarmed: set[str] = set()

    def tell(self, record: IterationRecord) -> None:
        """Of an iteration that is entered; a resumed run enters one that was told of before."""
        step = record.iteration * self.steps_per_iteration
        if self._told is None:
            self._told = {
                m["step"] for m in self.run.metrics() if m["stage"] == self.stage and "rollout/reward" in m["metrics"]
            }
        if step not in self._told:
            self._told.add(step)
            self.run.metric(self.stage, step, metrics_of(record))
            self._sound(record, step)

    def _sound(self, record: IterationRecord, step: int) -> None:
        problems = problems_of(record, self.config)
        for name, text in problems.items():
            if name not in self._alarmed:
                self.run.event(self.stage, "warning", step=step, text=text)
                self.terminal.warn(self.stage, text)
        self._alarmed = set(problems)


def metrics_of(record: IterationRecord) -> dict[str, float]:
    kl_weight, gap = record.state.get("kl_weight"), record.gap
    return {
        "rollout/reward": record.reward_mean,
        "rollout/reward_deviation": record.reward_deviation,
        "rollout/entropy": record.entropy,
        "rollout/answer_tokens": float(record.n_tokens),
        "rollout/share_finished": record.share_finished,
        "rollout/share_alike": record.share_alike,
        "rollout/unknown_logps": float(record.n_unknown_logps),
        **({} if record.kl is None else {"rollout/kl": record.kl}),
        **({} if gap is None else {"rollout/logp_gap": gap.mean, "rollout/logp_gap_largest": gap.largest}),
        **({} if kl_weight is None else {"rollout/kl_weight": float(kl_weight)}),
    }


def problems_of(record: IterationRecord, config: AlarmConfig) -> dict[str, str]:
    """What is wrong, by name, in words."""
    where = f"iteration {record.iteration}: "
    problems = {}
    if record.kl is not None and record.kl > config.max_kl:
        problems["kl"] = (
            f"{where}the policy is {record.kl:.3g} nats a token away from the model it started as (alarm.max_kl = "
            f"{config.max_kl:g}): read some answers, the reward may be gamed. A larger kl_weight holds it back."
        )
    if record.entropy < config.min_entropy:
        problems["entropy"] = (
            f"{where}the answers hardly vary any more: {record.entropy:.3g} nats a token (alarm.min_entropy = "
            f"{config.min_entropy:g}). If the task is not solved, lower the learning rates or raise clip_high."
        )
    if record.n_unknown_logps:
        problems["unknown"] = (
            f"{where}{record.n_unknown_logps} sampled log-probabilities are not finite; their tokens count as on policy"
        )
    return problems
