"""Thumbs and better answers given in Chat: labels of the campaign "chat".

The person at the page has no annotator's key; the labels are of "studio", or of the API key where the server asks for
one.  The last judgement of an answer stands; taking it back is a skip after it.
"""

import threading
from contextlib import suppress
from typing import Annotated

from pydantic import Field

from glasshouse.core.config import Config
from glasshouse.core.records import Message
from glasshouse.feedback.campaign import Campaign, Candidate, Item
from glasshouse.feedback.problems import ConflictError
from glasshouse.feedback.store import FeedbackStore
from glasshouse.serve.http import APIRouter, Request
from glasshouse.serve.studio_labels import Labels, SubmissionId
from glasshouse.serve.studio_models import ChatMessage, Text

CHAT = "chat"
GUIDELINES = "What people said of answers in the studio's Chat: good or bad, and at times how it should have been."


class Judgement(Config):
    """`is_good` None takes back what was said.  `better` is how the answer should have been."""

    submission_id: SubmissionId
    prompt: Annotated[tuple[ChatMessage, ...], Field(min_length=1, max_length=20_000)]
    answer: Annotated[Text, Field(min_length=1)]
    model: Annotated[str, Field(max_length=300)] = ""
    is_good: bool | None = None
    better: Text = ""


def judgement_routes(labels: Labels) -> APIRouter:
    router = APIRouter(prefix="/studio/api/labels", include_in_schema=False)
    lock = threading.Lock()  # the standing label is looked up, then replaced

    @router.post("/chat")
    def judge_answer(given: Judgement, request: Request) -> dict[str, str]:
        with labels.opened() as store, lock:
            return {"item_id": judge(store, given, _who(request))}

    return router


def judge(store: FeedbackStore, given: Judgement, annotator: str) -> str:
    """Keep a judgement; the item's id.  Sent twice, it is stored once."""
    _prepare(store, annotator)
    prompt = tuple(Message(message.role, message.content) for message in given.prompt)
    [id] = store.add_items(CHAT, [Item(prompt, (Candidate(given.answer, given.model),))])
    if given.is_good is None:
        store.skip(CHAT, annotator, id, given.submission_id)
        return id
    label = {"is_good": given.is_good} | ({"better": given.better} if given.better.strip() else {})
    store.submit(CHAT, annotator, id, given.submission_id, label, replaces=_last(store, annotator, id))
    return id


def _last(store: FeedbackStore, annotator: str, item_id: str) -> str | None:
    """The label to replace, also where it was taken back."""
    said = [one for one in store.history(CHAT) if one.item_id == item_id and one.annotator == annotator]
    return next((one.submission_id for one in reversed(said) if one.action == "label"), None)


def _prepare(store: FeedbackStore, annotator: str) -> None:
    store.ensure_annotator(annotator)
    if not any(campaign.name == CHAT for campaign in store.campaigns()):
        with suppress(ConflictError):  # another process was first
            store.create_campaign(Campaign(name=CHAT, kind="thumbs", guidelines=GUIDELINES, overlap=0, test_share=0))


def _who(request: Request) -> str:
    key_id = request.state.record.key_id
    return f"studio {key_id}" if key_id else "studio"
