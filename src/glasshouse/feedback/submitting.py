"""A submission becomes a row, once: however often it is sent, and whatever dies in between.

The sender makes the submission's id.  A row is acknowledged after it is on the disk; an acknowledgement that was lost
is asked for again with the same id and answered with the row that is there.
"""

from dataclasses import dataclass
from typing import Any

from glasshouse.feedback.campaign import Campaign, Item
from glasshouse.feedback.database import Connection, Row, func, select, submissions
from glasshouse.feedback.handing_out import end_lease
from glasshouse.feedback.label import Action, Value, check_label
from glasshouse.feedback.problems import ConflictError, LabelError

MAX_REASON_CHARS = 2000
MAX_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """The submission is stored.  `is_repeat`: it was already."""

    submission_id: str
    item_id: str
    action: Action
    revision: int
    guidelines_version: int
    at: float
    is_repeat: bool = False


@dataclass(frozen=True, slots=True)
class Submission:
    """What is sent.  `replaces` names the own label that this one corrects."""

    id: str
    action: Action
    value: Value
    seconds: float | None = None
    replaces: str | None = None


def check_submission(submission: Submission) -> None:
    if not 0 < len(submission.id) <= 100 or not submission.id.isprintable():
        raise LabelError("a submission id is 1 to 100 printable characters, made by the sender; a UUID is good")
    if submission.seconds is not None and not 0 <= submission.seconds <= MAX_SECONDS:
        raise LabelError(f"the time for a label is 0 to {MAX_SECONDS:.0f} seconds; got {submission.seconds!r}")


def stored_submission(connection: Connection, annotator_id: int, submission: Submission, item: str) -> Receipt | None:
    """The receipt of the same submission sent before; `ConflictError` where its id was used for something else."""
    mine = (submissions.c.annotator_id == annotator_id) & (submissions.c.submission_id == submission.id)
    row = connection.execute(select(submissions).where(mine)).first()
    if row is None:
        return None
    if row.item_id != item or row.action != submission.action:
        raise ConflictError(f"the submission id {submission.id!r} was used before, for something else; make a new one")
    return _receipt(row, is_repeat=True)


def store_submission(
    connection: Connection, campaign_id: int, campaign: Campaign, item: Item, annotator_id: int,
    submission: Submission, now: float,
) -> Receipt:  # fmt: skip
    """Append the row.  The caller holds the campaign's lock and has looked for the same submission."""
    value = _checked_value(campaign, item, submission)
    version = end_lease(connection, item.id, annotator_id) or campaign.guidelines_version
    revision = _revision(connection, item.id, annotator_id, submission)
    connection.execute(submissions.insert().values(
        submission_id=submission.id, campaign_id=campaign_id, item_id=item.id, annotator_id=annotator_id,
        action=submission.action, revision=revision, guidelines_version=version, value=value,
        seconds=submission.seconds, at=now,
    ))  # fmt: skip
    return Receipt(submission.id, item.id, submission.action, revision, version, now)


def _checked_value(campaign: Campaign, item: Item, submission: Submission) -> dict[str, Any]:
    if submission.action in ("label", "adjudication"):
        return check_label(campaign, item, submission.value)
    reason = submission.value.get("reason", "")
    if not isinstance(reason, str) or len(reason) > MAX_REASON_CHARS:
        raise LabelError(f"a reason is a text of at most {MAX_REASON_CHARS} characters")
    if submission.action == "flag" and not reason.strip():
        raise LabelError("a flag needs a reason: say what is wrong with the item")
    return {"reason": reason}


def _revision(connection: Connection, item_id: str, annotator_id: int, submission: Submission) -> int:
    c = submissions.c
    mine = (c.item_id == item_id) & (c.annotator_id == annotator_id)
    said = connection.execute(select(c.submission_id, c.action).where(mine).order_by(c.id)).all()
    labels = [row.submission_id for row in said if row.action == "label"]
    if submission.action == "label" and labels:
        is_taken_back = next(row.action for row in reversed(said) if row.action in ("label", "skip")) == "skip"
        _check_correction(labels[-1], is_taken_back, submission.replaces)
    elif submission.replaces is not None:
        raise ConflictError(f"there is no label {submission.replaces!r} of yours on this item to be replaced")
    return sum(row.action == submission.action for row in said)


def _check_correction(last: str, is_taken_back: bool, replaces: str | None) -> None:
    """A second label of one person must say that it corrects the first: two open windows are no change of mind."""
    if replaces is None and not is_taken_back:
        raise ConflictError(
            f"you have labelled this item already. To correct that label, send replaces={last!r} with this one"
        )
    if replaces not in (None, last):
        raise ConflictError(f"the label {replaces!r} does not stand for this item: {last!r} does")


def n_labels(connection: Connection, item_id: str) -> int:
    query = select(func.count()).where(submissions.c.item_id == item_id, submissions.c.action == "label")
    return connection.scalar(query) or 0


def _receipt(row: Row[Any], is_repeat: bool) -> Receipt:
    return Receipt(
        row.submission_id, row.item_id, row.action, row.revision, row.guidelines_version, row.at, is_repeat
    )  # fmt: skip
