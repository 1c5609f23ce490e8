"""What the plan said before the first step, beside what happened."""

from dataclasses import dataclass
from typing import Any

from glasshouse.report.records import JUDGES, Record, RunRecords, mapping
from glasshouse.report.story.whole import bits_per_byte, n_parameters, total_cost
from glasshouse.report.units import format_bytes, format_count, format_energy, format_seconds


@dataclass(frozen=True)
class Comparison:
    """`at` in percent of a track from -50 % to +50 %."""

    what: str
    predicted: str
    actual: str
    difference: str
    at: float
    is_near: bool  # within 20 %


def comparisons(records: RunRecords) -> list[Comparison]:
    predicted = mapping(records.plan.get("predicted"))
    stages = mapping(predicted.get("stages"))
    cost = total_cost(records)
    trained = [s for s in records.training_stages if s.summary.get("n_tokens") and s.is_finished]
    tokens = sum(s.summary["n_tokens"] for s in trained) if len(trained) == len(records.training_stages) else None
    found: list[tuple[str, Any, Any, Any]] = [
        ("whole time", predicted.get("seconds"), records.actual.get("seconds"), format_seconds),
        *((f"· {s.name}", _predicted_seconds(stages, s.name), s.seconds, format_seconds) for s in records.stages),
        ("peak memory", predicted.get("memory_bytes"), records.actual.get("peak_memory_bytes"), format_bytes),
        ("bits a byte", predicted.get("bits_per_byte"), bits_per_byte(records), lambda value: f"{value:.3g}"),
        ("energy", predicted.get("joules"), cost.get("joules") if records.actual else None, format_energy),
        ("parameters", predicted.get("parameters"), n_parameters(records), format_count),
        ("tokens trained on", predicted.get("tokens"), tokens, format_count),
    ]
    return [_comparison(what, p, a, form) for what, p, a, form in found if p and a]


def _predicted_seconds(stages: Record, name: str) -> float:
    """What judges is planned one by one and told as one."""
    told_as_one = JUDGES if name == "evals" else (name,)
    parts = [part for planned, part in stages.items() if planned == name or planned.split("-")[0] in told_as_one]
    return sum(mapping(part).get("seconds") or 0 for part in parts)


def _comparison(what: str, predicted: float, actual: float, form: Any) -> Comparison:
    off = actual / predicted - 1
    shown = "as predicted" if abs(off) < 0.005 else f"{100 * off:+.0f} %".replace("-", "−")
    return Comparison(what, form(predicted), form(actual), shown, min(100.0, max(0.0, 50 + 100 * off)), abs(off) <= 0.2)
