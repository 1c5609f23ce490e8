"""What the model wrote while it learned: the same beginnings and questions at the same moments."""

from dataclasses import dataclass

from glasshouse.report.records import Record, RunRecords
from glasshouse.report.units import format_share

SAMPLE_CHARS = 600


@dataclass(frozen=True)
class SampleRow:
    when: str
    quality: str
    text: str


@dataclass(frozen=True)
class SampleGroup:
    stage: str
    prompt: str
    rows: list[SampleRow]
    is_chat: bool
    is_first: bool  # of its stage; the others are shown on demand


def samples(records: RunRecords) -> list[SampleGroup]:
    groups: dict[tuple[str, str], list[Record]] = {}
    for event in records.samples:
        groups.setdefault((str(event.get("stage", "")), str(event.get("prompt", ""))), []).append(event)
    firsts = dict(reversed(groups))  # the first prompt of each stage
    return [
        SampleGroup(
            stage, prompt, [_sample_row(e, records) for e in events], stage != "pretrain", firsts[stage] == prompt
        )
        for (stage, prompt), events in groups.items()
    ]


def _sample_row(event: Record, records: RunRecords) -> SampleRow:
    step, fraction = event.get("step", 0), event.get("fraction")
    when = format_share(fraction) if isinstance(fraction, int | float) else f"step {step:,}"
    near = [r["metrics"] for r in records.curves.get(str(event.get("stage")), []) if r.get("step", 0) <= step]
    metrics: Record = near[-1] if near else {}
    if event.get("stage") != "pretrain" and "loss" in metrics:
        quality = f"loss {metrics['loss']:.2g}"
    else:
        quality = f"{metrics['bits_per_byte']:.3g} bits/byte" if "bits_per_byte" in metrics else ""
    text = str(event.get("text", ""))
    return SampleRow(when, quality, text[:SAMPLE_CHARS] + ("…" if len(text) > SAMPLE_CHARS else ""))
