"""Which item an annotator is given next.

An item is leased while somebody works on it, so that many annotators do not all get the same one.  It is given to as
many people as it is wanted by (one, or `n_overlap` for the share that measures agreement), in the order of the items.
Whoever comes back before the lease has run out gets the same item again.  A label that comes later than that is stored
all the same: an item judged once too often is better than work thrown away.

Test questions (items whose right label is known) go to everybody, at places drawn from the campaign's seed.
"""

from typing import Any

from glasshouse.core.seeds import python_random
from glasshouse.feedback.campaign import ANSWERS_NEEDED, Campaign
from glasshouse.feedback.database import Connection, Row, exists, func, items, leases, select, submissions

DONE = ("label", "skip", "flag")  # what an annotator can have done with an item so as not to be given it again


def wanted_by(campaign: Campaign, item_id: str) -> int:
    """How many people are to judge an item: drawn by its id, and so the same whenever it is added."""
    is_shared = python_random(campaign.seed, "overlap", item_id).random() < campaign.overlap
    return campaign.n_overlap if is_shared else 1


def lease_next(
    connection: Connection, campaign_id: int, campaign: Campaign, annotator_id: int, now: float
) -> tuple[Row[Any], float] | None:
    """(the item's row, when its lease ends).  The caller holds the campaign's lock."""
    row = _own_item(connection, campaign_id, annotator_id, now) or _new_item(
        connection, campaign_id, campaign, annotator_id, now
    )
    if row is None:
        return None
    expires_at = now + campaign.lease_s
    _lease(connection, campaign_id, row.id, annotator_id, campaign.guidelines_version, expires_at)
    return row, expires_at


def _own_item(connection: Connection, campaign_id: int, annotator_id: int, now: float) -> Row[Any] | None:
    mine = (leases.c.annotator_id == annotator_id) & (leases.c.campaign_id == campaign_id) & (leases.c.expires_at > now)
    query = select(items).join(leases, leases.c.item_id == items.c.id).where(mine, items.c.removed_at.is_(None))
    return connection.execute(query.order_by(items.c.position).limit(1)).first()


def _new_item(
    connection: Connection, campaign_id: int, campaign: Campaign, annotator_id: int, now: float
) -> Row[Any] | None:
    by_me = (submissions.c.item_id == items.c.id) & (submissions.c.annotator_id == annotator_id)
    fresh = (
        select(items)
        .where(items.c.campaign_id == campaign_id, items.c.removed_at.is_(None))
        .where(items.c.n_candidates >= ANSWERS_NEEDED[campaign.kind][0])
        .where(~exists().where(by_me & submissions.c.action.in_(DONE)))
        .order_by(items.c.position)
        .limit(1)
    )
    tests, others = fresh.where(items.c.is_test == 1), fresh.where(items.c.is_test == 0, _is_wanted(annotator_id, now))
    first, second = (
        (tests, others) if _is_time_to_test(connection, campaign_id, campaign, annotator_id) else (others, None)
    )
    row = connection.execute(first).first()
    return connection.execute(second).first() if row is None and second is not None else row


def _is_wanted(annotator_id: int, now: float) -> Any:
    """Labelled by some and in the hands of others: together fewer than wanted."""
    later = submissions.alias("later")
    is_taken_back = exists().where(
        later.c.item_id == submissions.c.item_id, later.c.annotator_id == submissions.c.annotator_id,
        later.c.action == "skip", later.c.id > submissions.c.id,
    )  # fmt: skip
    labelled = select(func.count(submissions.c.annotator_id.distinct())).where(
        submissions.c.item_id == items.c.id, submissions.c.action == "label", ~is_taken_back
    )
    in_hand = select(func.count()).where(
        leases.c.item_id == items.c.id, leases.c.annotator_id != annotator_id, leases.c.expires_at > now
    )
    return labelled.scalar_subquery() + in_hand.scalar_subquery() < items.c.n_wanted


def _is_time_to_test(connection: Connection, campaign_id: int, campaign: Campaign, annotator_id: int) -> bool:
    mine = (submissions.c.campaign_id == campaign_id) & (submissions.c.annotator_id == annotator_id)
    n_done = connection.scalar(select(func.count()).where(mine))
    return python_random(campaign.seed, "test", annotator_id, n_done or 0).random() < campaign.test_share


def _lease(
    connection: Connection, campaign_id: int, item_id: str, annotator_id: int, version: int, expires_at: float
) -> None:
    end_lease(connection, item_id, annotator_id)
    connection.execute(leases.insert().values(
        item_id=item_id, annotator_id=annotator_id, campaign_id=campaign_id, guidelines_version=version,
        expires_at=expires_at,
    ))  # fmt: skip


def end_lease(connection: Connection, item_id: str, annotator_id: int) -> int | None:
    """The version of the guidelines the item was shown with, where it was handed out."""
    mine = (leases.c.item_id == item_id) & (leases.c.annotator_id == annotator_id)
    version = connection.scalar(select(leases.c.guidelines_version).where(mine))
    connection.execute(leases.delete().where(mine))
    return version
