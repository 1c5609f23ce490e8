"""A run directory: the resolved recipe, append-only records, one folder a stage, and `model`, the finished checkpoint.

runs/quickstart/
  recipe.toml      resolved: every value, and where it came from
  metrics.jsonl    {"stage", "step", "at", "metrics": {...}}, one line a record
  events.jsonl     {"at", "stage", "kind", ...}: started, finished, skipped, sample, warning, cost, prediction
  corpus/ tokenizer/ pretrain/ sft/ evals/ ...   one folder a stage
  model            relative link to the finished checkpoint
  report.html  MODEL_CARD.md
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glasshouse.core.errors import ConfigError
from glasshouse.core.files import append_jsonl, read_jsonl


class RunDirectory:
    """Paths and append-only records of one run.  Creating the object creates nothing on disk; `create` does.

    is_silent: nothing is recorded, for processes that work on a run beside the one that records it.
    """

    def __init__(self, path: Path | str, *, is_silent: bool = False) -> None:
        self.path, self.is_silent = Path(path), is_silent

    def create(self) -> "RunDirectory":
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def recipe_path(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def model_path(self) -> Path:
        return self.path / "model"

    def stage(self, name: str) -> Path:
        """The folder of a stage, created.  `name` is one plain word: no path leaves the run."""
        if not name.replace("-", "_").isidentifier():
            raise ConfigError(f"a stage is named by one plain word (letters, digits, - and _); got {name!r}")
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def metric(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        self._append("metrics.jsonl", {"stage": stage, "step": step, "at": time.time(), "metrics": metrics})

    def event(self, stage: str, kind: str, **details: Any) -> None:
        self._append("events.jsonl", {"at": time.time(), "stage": stage, "kind": kind, **details})

    def metrics(self) -> Iterator[dict[str, Any]]:
        return self._records("metrics.jsonl")

    def events(self) -> Iterator[dict[str, Any]]:
        return self._records("events.jsonl")

    def link_model(self, checkpoint: Path) -> None:
        """Point `model` at a finished checkpoint inside the run, atomically."""
        if self.is_silent:
            return
        temporary = self.path / f".model.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(checkpoint, self.path), target_is_directory=True)
        temporary.replace(self.model_path)

    def _append(self, name: str, record: dict[str, Any]) -> None:
        if not self.is_silent:
            append_jsonl(self.path / name, record)

    def _records(self, name: str) -> Iterator[dict[str, Any]]:
        path = self.path / name
        return read_jsonl(path) if path.exists() else iter(())
