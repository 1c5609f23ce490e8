"""A reward model: how often it agrees with people on answers it has not seen, and whether its odds are true."""

import math
from dataclasses import dataclass

from glasshouse.report.records import Record, RunRecords, mapping
from glasshouse.report.units import format_interval, format_share, plural

CHANCE = 0.5


@dataclass(frozen=True)
class RewardModel:
    stage: str
    verdict: str
    calibration: str
    facts: list[tuple[str, str]]


def reward_model(records: RunRecords) -> RewardModel | None:
    stage = records.stage_with("quality")
    quality = mapping(stage.result["quality"]) if stage else {}
    accuracy = mapping(quality.get("accuracy"))
    if stage is None or not accuracy:
        return None
    facts = [
        ("learned from", plural(stage.result.get("n_trained", 0), "comparison")),
        ("judged by", plural(accuracy["count"], "pair")),
    ]
    if (log_loss := quality.get("log_loss")) is not None:
        facts.append(("surprise at what people preferred", f"{log_loss:.3f} nats a pair, chance {math.log(2):.3f}"))
    return RewardModel(stage.name, _verdict(accuracy), _calibration(quality), facts)


def _verdict(accuracy: Record) -> str:
    low, high = accuracy["low"], accuracy["high"]
    text = f"It agrees with people on {format_share(accuracy['value'])} ({format_interval(low, high, 'share')}) of "
    text += f"{plural(accuracy['count'], 'pair')} of answers that it had not seen. "
    if low > CHANCE:
        return text + "Chance would be 50 %, which the interval excludes."
    if high < CHANCE:
        return text + "That is worse than tossing a coin."
    return text + "Chance would be 50 %, which the interval does not exclude."


def _calibration(quality: Record) -> str:
    error = quality.get("expected_calibration_error")
    if error is None:
        return ""
    return f"How sure it is and how often it is right differ by {100 * error:.1f} points on average."
