"""Runs as the studio shows them: a list, one run told whole, its metrics as they are written, and its report.

Metrics are read from a byte offset that the page hands back, so a look at a run that trains costs what is new in it.
Only run directories found below the root are ever opened, by name; a report is served only from inside its run.
A link cannot carry an API key, so the address of a report has a secret part, told to those who may ask for the run.
"""

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from glasshouse.core.files import read_jsonl
from glasshouse.core.rundir import RunDirectory
from glasshouse.report import life, pair_runs, stages_of, story
from glasshouse.report.card import render_card
from glasshouse.report.records import RunRecords, mapping, read_run
from glasshouse.run.find import find_runs
from glasshouse.serve.errors import APIError
from glasshouse.serve.http import APIRouter, HTMLResponse

CHUNK_BYTES = 2**20  # of metrics in one answer; the page asks again until it has all
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n+", re.DOTALL)
LIVE_S = 90.0  # a run that wrote nothing for longer is not shown as running

# The report's own policy allows its scripts by hash.  Sandboxed, it has no origin: it can neither read the studio's
# pages nor call the server, whoever made it.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
)


class RunFolder:
    """The runs directly below `root`, or `root` itself where it is one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._secret = secrets.token_bytes(32)  # addresses of reports are good until the server ends

    def all(self) -> Iterator[RunDirectory]:
        """Latest first."""
        if (self.root / "recipe.toml").is_file():
            yield RunDirectory(self.root.resolve())
        elif self.root.is_dir():
            yield from reversed(list(find_runs(self.root)))

    def find(self, name: str) -> RunDirectory:
        """By equality with what is there, so that no name leads elsewhere."""
        for run in self.all():
            if run.name == name:
                return run
        raise APIError(404, "there is no run of that name. It may have been moved or deleted.")

    def report_key(self, name: str) -> str:
        return hmac.new(self._secret, name.encode(), hashlib.sha256).hexdigest()[:32]


def beginnings(folder: RunFolder, model: str) -> dict[str, list[str]]:
    """What a run's model was asked, and went on with, while it was made: good things to begin with."""
    found: dict[str, list[str]] = {"questions": [], "beginnings": []}
    for run in folder.all():
        if run.name == model:
            for event in _lenient(run.path / "events.jsonl"):
                if event.get("kind") == "sample" and isinstance(event.get("prompt"), str):
                    found["questions" if event.get("stage") == "sft" else "beginnings"].append(event["prompt"])
    return {kind: list(dict.fromkeys(prompts))[:4] for kind, prompts in found.items()}


def summarise(run: RunDirectory) -> dict[str, Any]:
    """One line of the list, from the small files only."""
    events = list(_lenient(run.path / "events.jsonl"))
    stages = list(dict.fromkeys(str(e["stage"]) for e in events if e.get("kind") in ("started", "finished", "skipped")))
    last: Mapping[str, Any] = next(
        (e for e in reversed(events) if e.get("kind") in ("started", "finished", "interrupted")), {}
    )
    changed_at = max(
        (_changed_at(run.path / name) for name in ("events.jsonl", "metrics.jsonl", "recipe.toml")), default=0.0
    )
    is_whole = (run.path / "actual.json").is_file() and last.get("kind") == "finished"
    return {
        "name": run.name,
        "state": _state(is_whole, str(last.get("kind", "")), changed_at),
        "stage": last.get("stage"),
        "stages": stages,
        "began_at": events[0].get("at") if events else changed_at,
        "changed_at": changed_at,
        "has_model": (run.path / "model").exists(),
        "has_report": (run.path / "report.html").is_file(),
        "stamp": stamp(run),
    }


def _state(is_whole: bool, last: str, changed_at: float) -> str:
    if last == "interrupted":
        return "interrupted"
    if is_whole:
        return "finished"
    return "running" if time.time() - changed_at < LIVE_S else "stopped"


def stamp(run: RunDirectory) -> str:
    """Changes when anything but the metrics has changed."""
    paths = [run.path / name for name in ("events.jsonl", "actual.json", "report.html")]
    return "-".join(f"{_changed_at(path):.3f}" for path in paths)


def tell(run: RunDirectory) -> dict[str, Any]:
    """The whole run but its curves."""
    records = read_run(run)
    return {
        **summarise(run),
        "headline": asdict(story.headline(records)),
        "panes": [{**asdict(pane), "took": pane.took} for pane in life.panes(records)],
        "samples": [asdict(group) for group in story.samples(records)],
        "costs": [asdict(row) for row in story.costs(records)],
        "is_estimated": story.total_cost(records).get("is_estimated", True),
        "warnings": [{"stage": str(w.get("stage", "")), "text": str(w.get("text", ""))} for w in records.warnings],
        "steps": _planned_steps(records),
    }


def _planned_steps(records: RunRecords) -> dict[str, int]:
    """How many steps each training stage will have, so that a curve can show how far it is."""
    stages = mapping(mapping(records.plan.get("predicted")).get("stages"))
    planned = {name: int(part["steps"]) for name, part in stages.items() if "steps" in mapping(part)}
    return {**planned, **records.steps}


def read_metrics(run: RunDirectory, offset: int) -> dict[str, Any]:
    """Whole lines from `offset` on.  `offset` 0 in the answer's `from`: the file is another one, begin afresh."""
    path = run.path / "metrics.jsonl"
    size = path.stat().st_size if path.is_file() else 0
    start = offset if 0 <= offset <= size else 0
    records: list[Any] = []
    end = start
    if size > start:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(CHUNK_BYTES)
        whole = data[: data.rfind(b"\n") + 1]
        end = start + len(whole)
        records = [record for line in whole.splitlines() if (record := _record(line))]
    return {"from": start, "offset": end, "is_all": end >= size or end == start, "records": records,
            "summary": summarise(run)}  # fmt: skip


def _record(line: bytes) -> dict[str, Any] | None:
    """Finite numbers only: JSON in a browser knows no NaN."""
    try:
        record = json.loads(line, parse_constant=lambda _: None)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("metrics"), dict):
        return None
    metrics = {key: value for key, value in record["metrics"].items() if isinstance(value, int | float)}
    return {
        "stage": str(record.get("stage")), "step": record.get("step", 0), "at": record.get("at", 0), "metrics": metrics,
    }  # fmt: skip


def report_page(run: RunDirectory) -> str:
    """Links are followed first: what lies outside the run is not its report."""
    path = (run.path / "report.html").resolve()
    if not path.is_relative_to(run.path.resolve()) or not path.is_file():
        raise APIError(404, f"{run.name} has no report yet. Make one: glass report {run.path}")
    return path.read_text(encoding="utf-8", errors="replace")


def card_text(run: RunDirectory) -> str:
    """From the records as they are now, without the front matter that is for the hub.  Nothing is written."""
    text = render_card(read_run(run))
    return FRONT_MATTER.sub("", text, count=1)


def run_routes(folder: RunFolder) -> APIRouter:
    router = APIRouter(prefix="/studio", include_in_schema=False)

    @router.get("/api/runs")
    def list_runs() -> list[dict[str, Any]]:
        return [summarise(run) for run in folder.all()]

    @router.get("/api/runs/{name}")
    def show_run(name: str) -> dict[str, Any]:
        return {**tell(folder.find(name)), "report_key": folder.report_key(name)}

    @router.get("/api/runs/{name}/metrics")
    def show_metrics(name: str, offset: int = 0) -> dict[str, Any]:
        return read_metrics(folder.find(name), offset)

    @router.get("/api/runs/{name}/card")
    def show_card(name: str) -> dict[str, str]:
        return {"name": name, "markdown": card_text(folder.find(name))}

    @router.get("/api/judged")
    def list_judged() -> list[dict[str, Any]]:
        found = [(run.name, stages_of(run)) for run in folder.all()]
        return [{"name": name, "stages": stages} for name, stages in found if stages]

    @router.get("/api/compare")
    def compare(a: str, a_stage: str, b: str, b_stage: str) -> list[dict[str, Any]]:
        return [pair.to_json() for pair in pair_runs(folder.find(a), a_stage, folder.find(b), b_stage)]

    @router.get("/runs/{name}/report.html")
    def show_report(name: str, key: str = "") -> HTMLResponse:
        if not hmac.compare_digest(key.encode(), folder.report_key(name).encode()):
            raise APIError(403, "this address of a report is no longer good. Open the report from the studio.")
        headers = {"Content-Security-Policy": REPORT_POLICY, "Referrer-Policy": "no-referrer"}
        return HTMLResponse(report_page(folder.find(name)), headers=headers)

    return router


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _lenient(path: Path) -> Iterator[dict[str, Any]]:
    """Records up to the first damaged line."""
    try:
        for record in read_jsonl(path):
            if isinstance(record, dict):
                yield record
    except (OSError, ValueError):
        return
