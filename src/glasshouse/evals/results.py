"""One file of results after each stage: runs/NAME/evals/<stage>.json, read by the report and the model card.

{"after": "sft", "scores": [Score...], "groups": {"kind": {...}, "phrasing": {...}}, "outcomes": {...}, "n_items": 9000,
 "items": [...], "held_out": {"loss_mean", "n_tokens", "n_bytes", "stride"}}
Keys of what was not measured are left out, but for scores, groups and items.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from glasshouse.core.files import write_json
from glasshouse.evals.answers import QuestionResults
from glasshouse.evals.likelihood import HeldOutResult


def results_json(
    after: str, held_out: HeldOutResult | None = None, questions: QuestionResults | None = None
) -> dict[str, Any]:
    record: dict[str, Any] = {"after": after, "scores": [], "groups": {}, "items": []}
    if held_out is not None:
        record["scores"].append(asdict(held_out.bits_per_byte))
        record["held_out"] = {k: v for k, v in asdict(held_out).items() if k != "bits_per_byte"}
    if questions is not None:
        measured = questions.to_json()
        record["scores"] += measured.pop("scores")
        record |= measured
    return record


def write_results(
    folder: Path,
    after: str,
    held_out: HeldOutResult | None = None,
    questions: QuestionResults | None = None,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write folder/<after>.json; `more` is added to the record (cost, seconds)."""
    path = folder / f"{after}.json"
    write_json(path, {**results_json(after, held_out, questions), **(more or {})})
    return path
