"""A moderator: what share of what it should block it blocks, and what it blocks wrongly."""

from dataclasses import dataclass

from glasshouse.report.records import Record, RunRecords, mapping
from glasshouse.report.units import format_interval, format_share, plural


@dataclass(frozen=True)
class Moderation:
    verdict: str
    facts: list[tuple[str, str]]


def moderation(records: RunRecords) -> Moderation | None:
    scores = moderation_scores(records)
    stage = records.stage_with("threshold")
    if stage is None or not scores:
        return None
    facts = [
        ("learned from", plural(stage.result.get("n_trained", 0), "text")),
        ("judged by", plural(stage.result.get("n_held_out", 0), "text")),
        ("blocks from a probability of", format_share(stage.result["threshold"])),
    ]
    return Moderation(" ".join(_sentences(scores)), facts)


def moderation_scores(records: RunRecords) -> Record:
    """By name: blocked, wrongly_blocked, accuracy; empty where nothing was held out."""
    stage = records.stage_with("threshold")
    return mapping(stage.result.get("scores")) if stage else {}


def _sentences(scores: Record) -> list[str]:
    told = {
        "blocked": "It blocks {} of texts that should be blocked",
        "wrongly_blocked": "and {} of those that should not",
    }
    parts = [words.format(_share(mapping(scores[name]))) for name, words in told.items() if name in scores]
    return [", ".join(parts) + ", measured on texts it had not seen."] if parts else []


def _share(score: Record) -> str:
    interval = format_interval(score["low"], score["high"], "share")
    return f"{format_share(score['value'])} ({interval}, n={score['count']:,})"
