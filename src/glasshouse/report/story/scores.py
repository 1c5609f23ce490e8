"""Scores with their 95 % intervals, one panel a score and one row a stage, as places on a track."""

from collections.abc import Sequence
from dataclasses import replace

from glasshouse.report.records import Record, RunRecords, mapping
from glasshouse.report.story.marks import DotPanel, dot_rows

SCORES: dict[str, tuple[str, bool]] = {
    "exact": ("Right answers, word for word", True),
    "normalised": ("Right answers, case and punctuation aside", True),
    "wrong": ("Wrong answers, said as if they were true", False),
    "refused_known": ("Known names, wrongly refused", False),
    "honest_refusal": ("Made-up names, honestly refused", True),
    "exact_refusal": ("Made-up names, refused in the taught words", True),
    "unsure_known": ("Known names, answer held back as not sure", False),
    "unsure_made_up": ("Made-up names, answer held back as not sure", True),
    "bits_per_byte": ("Bits a byte of text held back", False),
}
FINER_SCORES = ("normalised", "exact_refusal", "unsure_made_up")  # shown on demand


def score_panels(records: RunRecords) -> list[DotPanel]:
    """One panel a score, one row a stage: what each stage changed."""
    present = {score["name"] for result in records.evaluations for score in result["scores"]}
    names = [n for n in SCORES if n in present] + sorted(present - set(SCORES))
    by_stage = [(r["after"], {s["name"]: s for s in r["scores"]}) for r in records.evaluations]
    return [_panel(name, [(after, scores[name]) for after, scores in by_stage if name in scores]) for name in names]


def _panel(name: str, rows: Sequence[tuple[str, Record]]) -> DotPanel:
    title, is_more_better = SCORES.get(name, (name.replace("_", " ").capitalize(), True))
    count = rows[-1][1].get("count", 0)
    better = "more is better" if is_more_better else "less is better"
    things = "texts" if name == "bits_per_byte" else "questions"
    return DotPanel(title, f"{better} · {count:,} {things}", dot_rows(rows), is_main=name not in FINER_SCORES)


def kind_panel(records: RunRecords) -> DotPanel | None:
    """The last evaluation by kind of question: the share that was right, or honestly refused."""
    kinds = mapping(mapping(records.evaluations[-1].get("groups")).get("kind")) if records.evaluations else {}
    rows = []
    for kind, scores in kinds.items():
        by_name = {score["name"]: score for score in scores}
        score = by_name.get("exact") or by_name.get("honest_refusal")
        if score:
            rows.append((kind.replace("_", " "), score))
    if not rows:
        return None
    equals = [replace(row, is_last=True) for row in dot_rows(rows)]
    return DotPanel("Good answers by kind of question", "right, or for made-up names refused", equals, is_main=False)
