"""The run's append-only records as training needs them: rewound on resume, so that no step is told twice."""

import json
from typing import Any

from glasshouse.core.files import atomic_open, read_jsonl
from glasshouse.core.rundir import RunDirectory


def rewind(run: RunDirectory, stage: str, step: int | None, *, keeps_warnings: bool = False) -> None:
    """Drop this stage's metrics, and events that carry a step, from after `step` (None: all): they happen again."""
    for name in ("metrics.jsonl", "events.jsonl"):
        path = run.path / name
        if path.exists() and any(_is_later(record, stage, step, keeps_warnings) for record in read_jsonl(path)):
            with atomic_open(path) as file:
                for record in read_jsonl(path):
                    if not _is_later(record, stage, step, keeps_warnings):
                        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _is_later(record: dict[str, Any], stage: str, step: int | None, keeps_warnings: bool) -> bool:
    if record.get("stage") != stage or "step" not in record:
        return False
    if keeps_warnings and record.get("kind") == "warning":
        return False
    return step is None or record["step"] > step
