"""Labels over HTTP, for the page Label: tasks, submissions, progress, agreement, review, export.

An annotator's key comes with every request that needs one (`X-Annotator-Key`); the store keeps its hash alone.  Nothing
here names the model that gave an answer, not even the export: who labels, judges blindly (`glass label export` does).

A submission's id is made in the browser, which sends it again until it is acknowledged.  It gives up only where the
answer says that the label itself is wrong (400, 404, 409); when the store is at fault, the answer is 503.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field

from glasshouse.core.config import Config
from glasshouse.core.errors import DataError
from glasshouse.feedback.agreement import Agreement
from glasshouse.feedback.campaign import Campaign, Item, show_item
from glasshouse.feedback.collected import Collected
from glasshouse.feedback.exchange import to_json
from glasshouse.feedback.label import Label
from glasshouse.feedback.people import Role
from glasshouse.feedback.problems import ConflictError, KeyRefusedError, LabelError, NotAllowedError, NotThereError
from glasshouse.feedback.review import Progress, disagreements, flags
from glasshouse.feedback.store import FeedbackStore
from glasshouse.serve.errors import APIError
from glasshouse.serve.http import APIRouter, Request, Response

KEY_HEADER = "X-Annotator-Key"
SHARE = 0.1  # of the time that looks over a whole campaign may take, however many pages ask for them
EXPORTED_META = ("campaign", "annotator", "guidelines_version", "at", "is_adjudicated")
STATUS = {KeyRefusedError: 403, NotAllowedError: 403, NotThereError: 404, ConflictError: 409, LabelError: 400}

Found = TypeVar("Found")
SubmissionId = Annotated[str, Field(min_length=1, max_length=100)]


class SignIn(Config):
    name: Annotated[str, Field(max_length=200)]


class Submitted(Config):
    submission_id: SubmissionId


class SubmittedFlag(Submitted):
    reason: Annotated[str, Field(max_length=2000)]


class SubmittedLabel(Submitted):
    label: dict[str, Any]
    seconds: float | None = None
    replaces: SubmissionId | None = None


class Decision(Submitted):
    label: dict[str, Any]


class Labels:
    """The store at `place`, opened when it is first needed, and what was last seen in it."""

    def __init__(self, place: str | Path) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._looks: dict[tuple[str, str], tuple[float, float, Any]] = {}

    @cached_property
    def store(self) -> FeedbackStore:
        return FeedbackStore(self.place)

    @contextmanager
    def opened(self) -> Iterator[FeedbackStore]:
        """The store; what it refuses becomes the answer that says so."""
        try:
            yield self.store
        except DataError as error:
            raise APIError(STATUS.get(type(error), 503), str(error), code=type(error).__name__) from None

    def look(self, what: str, campaign: str, compute: Callable[[str], Found]) -> Found:
        """`compute(campaign)`, from memory as long as it took ten times over: what is cheap is always fresh."""
        with self._lock:
            began, took, value = self._looks.get((what, campaign), (0.0, 0.0, None))
            now, used = time.monotonic(), time.thread_time()
            if not began or now - began > took / SHARE:
                value = compute(campaign)
                self._looks[what, campaign] = now, time.thread_time() - used, value
            return cast(Found, value)

    def annotator(self, request: Request, needed: Role = "annotator") -> str:
        """Whose key it is; refused where the role is a lesser one than `needed`."""
        key = request.headers.get(KEY_HEADER, "")
        if not key:
            raise APIError(403, f"sign in as an annotator: send {KEY_HEADER}", code="KeyRefusedError")
        with self.opened() as store:
            name = store.annotator_of(key)
            store.check_role(name, needed)
            return name


def label_routes(labels: Labels) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    router.include_router(_looking_routes(labels))
    router.include_router(_labelling_routes(labels))
    return router


def _looking_routes(labels: Labels) -> APIRouter:
    router = APIRouter(prefix="/studio/api/labels")

    @router.get("/campaigns")
    def campaigns() -> dict[str, Any]:
        with labels.opened() as store:
            rows = [(c, labels.look("progress", c.name, store.progress)) for c in store.campaigns()]
        return {"missing": None, "campaigns": [
            {"name": c.name, "kind": c.kind, "n_items": p.n_items, "n_done": p.n_done} for c, p in rows
        ]}  # fmt: skip

    @router.get("/campaigns/{name}")
    def campaign(name: str) -> dict[str, Any]:
        with labels.opened() as store:
            found = store.campaign(name)
        rubric = [criterion.model_dump() for criterion in found.rubric]
        return {"name": found.name, "kind": found.kind, "rubric": rubric,
                "guidelines": {"version": found.guidelines_version, "text": found.guidelines}}  # fmt: skip

    @router.get("/campaigns/{name}/progress")
    def progress(name: str, request: Request) -> dict[str, Any]:
        me = labels.annotator(request)
        with labels.opened() as store:
            return tell_progress(labels.look("progress", name, store.progress), me) | {"role": store.role_of(me)}

    @router.get("/campaigns/{name}/agreement")
    def agreement(name: str) -> dict[str, Any]:
        with labels.opened() as store:
            found = labels.look("agreement", name, store.agreement)
            return tell_agreement(found, labels.look("progress", name, store.progress))

    @router.get("/campaigns/{name}/review")
    def review(name: str, request: Request) -> dict[str, Any]:
        me = labels.annotator(request, "reviewer")
        with labels.opened() as store:
            return {"items": tell_review(store.collect(name), me)}

    @router.get("/campaigns/{name}/export")
    def export(name: str, request: Request) -> Response:
        labels.annotator(request, "owner")
        with labels.opened() as store:
            lines = [json.dumps(_without_models(to_json(record))) for record in store.export(name)]
        return Response("".join(f"{line}\n" for line in lines).encode(), media_type="application/jsonl")

    return router


def _labelling_routes(labels: Labels) -> APIRouter:
    router = APIRouter(prefix="/studio/api/labels")

    @router.post("/sign-in")
    def sign_in(given: SignIn, request: Request) -> dict[str, str]:
        name = labels.annotator(request)
        if given.name.strip().casefold() != name.casefold():
            raise APIError(403, "this key is not of that name; both come from whoever leads the campaign")
        with labels.opened() as store:
            return {"annotator": name, "role": store.role_of(name)}

    @router.post("/campaigns/{name}/next")
    def next_task(name: str, request: Request) -> dict[str, Any]:
        me = labels.annotator(request)
        with labels.opened() as store:
            task = store.next_item(name, me)
        return {"task": None if task is None else asdict(task) | {"rubric": None}}

    @router.post("/campaigns/{name}/items/{item_id}/labels")
    def submit(name: str, item_id: str, given: SubmittedLabel, request: Request) -> dict[str, Any]:
        me = labels.annotator(request)
        with labels.opened() as store:
            return asdict(store.submit(
                name, me, item_id, given.submission_id, given.label, given.seconds, given.replaces
            ))  # fmt: skip

    @router.post("/campaigns/{name}/items/{item_id}/skip")
    def skip(name: str, item_id: str, given: Submitted, request: Request) -> dict[str, Any]:
        me = labels.annotator(request)
        with labels.opened() as store:
            return asdict(store.skip(name, me, item_id, given.submission_id))

    @router.post("/campaigns/{name}/items/{item_id}/flag")
    def flag(name: str, item_id: str, given: SubmittedFlag, request: Request) -> dict[str, Any]:
        me = labels.annotator(request)
        with labels.opened() as store:
            return asdict(store.flag(name, me, item_id, given.submission_id, given.reason))

    @router.post("/campaigns/{name}/items/{item_id}/decision")
    def decide(name: str, item_id: str, given: Decision, request: Request) -> dict[str, Any]:
        me = labels.annotator(request, "reviewer")
        with labels.opened() as store:
            return asdict(store.adjudicate(name, item_id, given.label, me, given.submission_id))

    return router


# What the page is told


def tell_progress(progress: Progress, me: str) -> dict[str, Any]:
    mine = next((one for one in progress.annotators if one.name == me), None)
    kept = ("n_items", "n_done", "n_disagreements", "n_flags", "median_seconds")
    return {key: getattr(progress, key) for key in kept} | {"n_mine": mine.n_labels if mine else 0}


def tell_agreement(agreement: Agreement, progress: Progress) -> dict[str, Any]:
    seconds = {one.name: one.median_seconds for one in progress.annotators}
    annotators = [asdict(one) | {"median_seconds": seconds.get(one.name)} for one in agreement.annotators]
    return asdict(agreement) | {"annotators": annotators}


def tell_review(collected: Collected, me: str) -> list[dict[str, Any]]:
    """Items that wait for a decision: flagged ones, then those people judged differently, the widest apart first."""
    flagged = flags(collected)
    items = {one.item.id: one.item for one in flagged} | {one.item.id: one.item for one in disagreements(collected)}
    labels = collected.by_item()
    return [
        _shown(collected.campaign, item, me)
        | {"flags": [{"annotator": one.annotator, "reason": one.reason} for one in flagged if one.item.id == id]}
        | {"labels": [_told(item, label) for label in labels.get(id, [])]}
        for id, item in items.items()
    ]


def _shown(campaign: Campaign, item: Item, me: str) -> dict[str, Any]:
    task = show_item(campaign, item, me, expires_at=0.0)
    return {"item_id": item.id, "prompt": [asdict(message) for message in task.prompt],
            "answers": [asdict(answer) for answer in task.answers]}  # fmt: skip


def _told(item: Item, label: Label) -> dict[str, Any]:
    """Ranks by answer, as the page sends them: every reader sees the answers in another order."""
    value = dict(label.value)
    if "ranks" in value:
        value["ranks"] = dict(zip(item.answer_ids(), value["ranks"]))
    return {"annotator": label.annotator, "label": value, "version": label.guidelines_version}


def _without_models(record: Mapping[str, Any]) -> dict[str, Any]:
    meta = record.get("meta", {})
    return {**record, "meta": {key: meta[key] for key in EXPORTED_META if key in meta}}
