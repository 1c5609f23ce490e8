"""Where the reward rose most: answers before and after beside each other.  A reward that is gamed shows here first."""

from dataclasses import dataclass

from glasshouse.report.records import Record, RunRecords, mapping
from glasshouse.report.units import format_number

TEXT_CHARS = 600
SHOWN_AT_ONCE = 4
IMPLICIT = ("dpo", "kto")


@dataclass(frozen=True)
class Rise:
    prompt: str
    before: str
    after: str
    reward_before: str
    reward_after: str


@dataclass(frozen=True)
class Rises:
    basis: str  # what the reward is
    first: list[Rise]
    others: list[Rise]
    alarms: list[str]


def rises(records: RunRecords) -> Rises | None:
    """The largest rise first; answers whose reward did not rise are left out."""
    stage = records.stage_with("method")
    if stage is None:
        return None
    judged = [s for s in map(mapping, stage.result.get("samples") or []) if _rise(s) > 0]
    found = [_shown(sample) for sample in sorted(judged, key=lambda s: -_rise(s))]
    alarms = [str(warning.get("text", "")) for warning in records.warnings if warning.get("stage") == stage.name]
    if not found and not alarms:
        return None
    return Rises(_basis(stage.result), found[:SHOWN_AT_ONCE], found[SHOWN_AT_ONCE:], alarms)


def _rise(sample: Record) -> float:
    before, after = sample.get("reward_before"), sample.get("reward_after")
    return after - before if isinstance(before, int | float) and isinstance(after, int | float) else 0.0


def _shown(sample: Record) -> Rise:
    before, after = (_text(str(sample.get(key, ""))) for key in ("before", "after"))
    rewards = (format_number(float(sample[key])) for key in ("reward_before", "reward_after"))
    return Rise(_text(str(sample.get("prompt", ""))), before, after, *rewards)


def _text(text: str) -> str:
    if not text.strip():
        return "(only white space)" if text else "(nothing)"
    return text.strip()[:TEXT_CHARS] + ("…" if len(text.strip()) > TEXT_CHARS else "")


def _basis(result: Record) -> str:
    if result.get("method") in IMPLICIT:
        return (
            "The reward is the one that was learned along the way: how much likelier an answer is to the model now "
            "than it was before, in nats times beta."
        )
    return f"The reward: {result['reward']}." if result.get("reward") else ""
