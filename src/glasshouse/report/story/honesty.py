"""How far the model can be trusted: what it asserts, what it refuses, and the faults it was surest of."""

from collections.abc import Mapping
from dataclasses import dataclass

from glasshouse.report.records import Record, RunRecords, mapping
from glasshouse.report.story.marks import Part, parts_of
from glasshouse.report.story.whole import is_builtin, latest_scores
from glasshouse.report.units import format_share

EXAMPLES_SHOWN = 5
BASIS = "Measured on questions in words it was never trained on, and nobody looked at while its training was worded."
UNKNOWN = {
    "never_taught": "Asked about {count:,} real names it was never taught",
    "unrecited": "Asked for {count:,} signatures it was not taught",
}
DEVELOPMENT = ", in phrasings that its teaching was improved by"


@dataclass(frozen=True)
class Example:
    prompt: str
    said: str
    truth: str


@dataclass(frozen=True)
class ExampleGroup:
    title: str
    count: int
    examples: list[Example]


@dataclass(frozen=True)
class Trust:
    basis: str
    bars: list[tuple[str, list[Part]]]
    verdict: str
    groups: list[ExampleGroup]


def trust(records: RunRecords) -> Trust | None:
    """How far it can be trusted, from the last evaluation's outcomes and its surest faults."""
    scores = latest_scores(records)
    last = records.evaluations[-1] if records.evaluations else {}
    bars = []
    for worded, found in (("", scores), (DEVELOPMENT, _by_name(mapping(last.get("development"))))):
        if {"wrong", "refused_known"} <= set(found):
            wrong, refused = found["wrong"]["value"], found["refused_known"]["value"]
            unsure = _value(found, "unsure_known")
            parts = [("right", 1 - wrong - refused - unsure, "good"), ("refused", refused, "plain"),
                     *_not_sure(unsure), ("wrong", wrong, "bad")]  # fmt: skip
            bars.append((f"Asked about {found['wrong']['count']:,} things that exist{worded}", parts_of(parts)))
        if "honest_refusal" in found:
            honest = found["honest_refusal"]["value"]
            unsure = _value(found, "unsure_made_up")
            parts = [("refused, rightly", honest, "good"), *_not_sure(unsure),
                     ("invented an answer", 1 - honest - unsure, "bad")]  # fmt: skip
            count = found["honest_refusal"]["count"]
            bars.append((f"Asked about {count:,} names that do not exist{worded}", parts_of(parts)))
    for group, asked in UNKNOWN.items():
        found = _by_name(mapping(last.get(group)))
        if score := found.get("honest_refusal"):
            known, unsure = score["value"], _value(found, "unsure_made_up")
            parts = [("said it does not know", known, "plain"), *_not_sure(unsure),
                     ("guessed", 1 - known - unsure, "bad")]  # fmt: skip
            bars.append((asked.format(count=score["count"]), parts_of(parts)))
    if not bars:
        return None
    basis = BASIS if is_builtin(records) else ""
    return Trust(basis, bars, _verdict(scores), _faults(last))


def _value(scores: Mapping[str, Record], name: str) -> float:
    return float(scores[name]["value"]) if name in scores else 0.0


def _not_sure(share: float) -> list[tuple[str, float, str]]:
    """Nothing for a model that holds nothing back."""
    return [("not sure", share, "plain")] if share else []


def _by_name(result: Record) -> dict[str, Record]:
    return {score["name"]: score for score in result.get("scores", [])}


def _verdict(scores: Mapping[str, Record]) -> str:
    """What follows for somebody who reads one answer."""
    sentences = []
    if {"wrong", "refused_known"} <= set(scores):
        wrong = scores["wrong"]["value"]
        asserted = 1 - scores["refused_known"]["value"] - _value(scores, "unsure_known")
        if asserted > 0:
            sentences.append(f"When it answers about something that exists, {_one_in(wrong / asserted)} wrong.")
    if "honest_refusal" in scores:
        believed = 1 - scores["honest_refusal"]["value"] - _value(scores, "unsure_made_up")
        sentences.append(f"Asked about something that does not exist, it makes something up {_times(believed)}.")
    return " ".join([*sentences, "Outside what it was asked here, nothing has been measured: check what it says."])


def _one_in(share: float) -> str:
    if share <= 0:
        return "no answer in this test was"
    return (
        f"about one answer in {round(1 / share):,} is" if share < 0.4 else f"{format_share(share)} of the answers are"
    )


def _times(share: float) -> str:
    if share <= 0:
        return "never in this test"
    return f"about one time in {round(1 / share):,}" if share < 0.4 else f"{format_share(share)} of the time"


FAULTS = {
    "wrong": "Wrong, said as if it were true",
    "invented": "Invented for a name that does not exist",
    "refused": "Refused although it was taught",
    "unsure": "Held back, for it was not sure of it",
}


def _faults(result: Record) -> list[ExampleGroup]:
    """The surest faults first: those are the ones that mislead."""
    items, counts = result.get("items") or [], mapping(result.get("outcomes"))
    groups = []
    for outcome, title in FAULTS.items():
        found = sorted((i for i in items if i.get("outcome") == outcome), key=lambda i: -(i.get("logp_sum") or 0))
        distinct = list({item.get("text", ""): item for item in reversed(found)}.values())[::-1]
        shown = [_example(item) for item in (distinct if len(distinct) >= 3 else found)[:EXAMPLES_SHOWN]]
        if shown:
            groups.append(ExampleGroup(title, int(counts.get(outcome, len(found))), shown))
    return groups


def _example(item: Record) -> Example:
    said = item.get("withheld") or item.get("text", "")
    return Example(str(item.get("prompt", "")), str(said), str((item.get("expected") or [""])[0]))
