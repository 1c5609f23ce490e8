"""Rows into campaigns and items, and back.  Each function is a part of one of the store's transactions."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from glasshouse.core.errors import DataError, suggest
from glasshouse.core.records import Message
from glasshouse.feedback.campaign import ANSWERS_NEEDED, MAX_CHARS, Campaign, Candidate, Item, check_item, item_id
from glasshouse.feedback.collected import Collected
from glasshouse.feedback.database import (
    Connection,
    Row,
    annotators,
    campaigns,
    func,
    guidelines,
    items,
    leases,
    select,
    submissions,
)  # fmt: skip
from glasshouse.feedback.handing_out import wanted_by
from glasshouse.feedback.label import Label, check_known
from glasshouse.feedback.problems import ConflictError, NotThereError
from glasshouse.feedback.submitting import n_labels

CHUNK = 500  # ids in one question to the database


@dataclass(frozen=True, slots=True)
class StoredCampaign:
    id: int
    config: Campaign


# Campaigns and guidelines


def insert_campaign(connection: Connection, campaign: Campaign, now: float) -> StoredCampaign:
    if connection.scalar(select(campaigns.c.id).where(campaigns.c.name == campaign.name)) is not None:
        raise ConflictError(f"there is a campaign called {campaign.name!r} already")
    config = campaign.model_dump(mode="json", exclude={"guidelines", "guidelines_version"})
    result = connection.execute(campaigns.insert().values(name=campaign.name, config=config, created_at=now))
    [id] = result.inserted_primary_key or [None]
    connection.execute(guidelines.insert().values(campaign_id=id, version=1, text=campaign.guidelines, at=now))
    return StoredCampaign(int(id), campaign)


def find_campaign(connection: Connection, name: str, is_locking: bool = False) -> StoredCampaign:
    """With `is_locking`, others that ask so wait until this transaction ends (SQLite has one writer anyway)."""
    query = select(campaigns).where(campaigns.c.name == name)
    row = connection.execute(query.with_for_update() if is_locking else query).first()
    if row is None:
        known = list(connection.scalars(select(campaigns.c.name).order_by(campaigns.c.name)))
        raise NotThereError(
            f"there is no campaign called {name!r}.{suggest(name, known)} Campaigns: {', '.join(known) or 'none yet'}"
        )
    return _campaign(connection, row)


def all_campaigns(connection: Connection) -> list[StoredCampaign]:
    rows = connection.execute(select(campaigns).order_by(campaigns.c.id.desc())).all()
    return [_campaign(connection, row) for row in rows]


def _campaign(connection: Connection, row: Row[Any]) -> StoredCampaign:
    of_it = select(guidelines).where(guidelines.c.campaign_id == row.id)
    newest = connection.execute(of_it.order_by(guidelines.c.version.desc()).limit(1)).one()
    config = Campaign.model_validate(
        {**row.config, "guidelines": newest.text, "guidelines_version": newest.version}
    )  # fmt: skip
    return StoredCampaign(row.id, config)


def insert_guidelines(connection: Connection, campaign: StoredCampaign, text: str, now: float) -> int:
    if len(text) > MAX_CHARS:
        raise DataError(f"guidelines have at most {MAX_CHARS:,} characters; these have {len(text):,}")
    if text == campaign.config.guidelines:
        return campaign.config.guidelines_version
    version = campaign.config.guidelines_version + 1
    connection.execute(guidelines.insert().values(campaign_id=campaign.id, version=version, text=text, at=now))
    return version


def guidelines_text(connection: Connection, campaign: StoredCampaign, version: int) -> str:
    is_it = (guidelines.c.campaign_id == campaign.id) & (guidelines.c.version == version)
    text = connection.scalar(select(guidelines.c.text).where(is_it))
    if text is None:
        newest = campaign.config.guidelines_version
        raise NotThereError(f"there is no version {version} of the guidelines; the newest is {newest}")
    return str(text)


# Items


def insert_items(connection: Connection, campaign: StoredCampaign, given: Iterable[Item]) -> list[str]:
    named = [_checked(campaign.config, item, number) for number, item in enumerate(given, 1)]
    wanted = {item.id: item for item in named}
    there = _ids_there(connection, list(wanted))
    top = connection.scalar(select(func.max(items.c.position)).where(items.c.campaign_id == campaign.id))
    new = [item for id, item in wanted.items() if id not in there]
    rows = [_item_row(campaign, item, position) for position, item in enumerate(new, 0 if top is None else top + 1)]
    if rows:
        connection.execute(items.insert(), rows)
    return [item.id for item in named]


def _checked(campaign: Campaign, item: Item, number: int) -> Item:
    named = replace(item, id=item_id(campaign.name, item))
    try:
        check_item(campaign, named)
        check_known(campaign, named)
    except DataError as error:
        raise type(error)(f"item {number}: {error}") from None
    return named


def _ids_there(connection: Connection, ids: list[str]) -> set[str]:
    """Those stored already; removed ones among them come back."""
    found: set[str] = set()
    for start in range(0, len(ids), CHUNK):
        is_one = items.c.id.in_(ids[start : start + CHUNK])
        found |= set(connection.scalars(select(items.c.id).where(is_one)))
        connection.execute(items.update().where(is_one & items.c.removed_at.is_not(None)).values(removed_at=None))
    return found


def _item_row(campaign: StoredCampaign, item: Item, position: int) -> dict[str, Any]:
    return {
        "id": item.id, "campaign_id": campaign.id, "position": position, "prompt": [asdict(m) for m in item.prompt],
        "candidates": [asdict(c) for c in item.candidates], "n_candidates": len(item.candidates),
        "known": None if item.known is None else dict(item.known), "is_test": int(item.known is not None),
        "n_wanted": wanted_by(campaign.config, item.id), "meta": dict(item.meta), "removed_at": None,
    }  # fmt: skip


def append_answers(connection: Connection, campaign: StoredCampaign, id: str, answers: Iterable[Candidate]) -> Item:
    item = find_item(connection, campaign, id)
    if n_labels(connection, id):
        raise ConflictError("this item was judged already: more answers would change what the labels mean")
    longer = replace(item, candidates=(*item.candidates, *answers))
    check_item(campaign.config, longer)
    connection.execute(items.update().where(items.c.id == id).values(
        candidates=[asdict(c) for c in longer.candidates], n_candidates=len(longer.candidates),
    ))  # fmt: skip
    return longer


def mark_removed(connection: Connection, campaign: StoredCampaign, id: str, now: float) -> None:
    find_item(connection, campaign, id)
    connection.execute(items.update().where(items.c.id == id).values(removed_at=now))
    connection.execute(leases.delete().where(leases.c.item_id == id))


def find_item(connection: Connection, campaign: StoredCampaign, id: str) -> Item:
    is_it = (items.c.id == id) & (items.c.campaign_id == campaign.id)
    row = connection.execute(select(items).where(is_it)).first()
    if row is None:
        raise NotThereError(f"the campaign {campaign.config.name!r} has no item {id!r}; nothing was stored")
    if row.removed_at is not None:
        raise NotThereError(f"the prompt {id!r} is gone: it was removed from the campaign {campaign.config.name!r}")
    return item_of(row)


def item_of(row: Row[Any]) -> Item:
    return Item(
        tuple(Message(**message) for message in row.prompt),
        tuple(Candidate(**candidate) for candidate in row.candidates),
        row.known, row.meta, row.id,
    )  # fmt: skip


def count_items(connection: Connection, campaign: StoredCampaign) -> int:
    return connection.scalar(select(func.count()).where(*_present(campaign))) or 0


def check_openable(connection: Connection, campaign: StoredCampaign) -> None:
    """A campaign opens when there is something in it to label."""
    name, kind = campaign.config.name, campaign.config.kind
    needed = ANSWERS_NEEDED[kind][0]
    n_items = count_items(connection, campaign)
    if n_items == 0:
        raise NotThereError(
            f"the campaign {name!r} has no prompts, so there is nothing to label. Add some: glass label add {name} FILE"
        )
    if not connection.scalar(select(func.count()).where(*_present(campaign), items.c.n_candidates >= needed)):
        raise NotThereError(
            f"none of the {n_items} prompts of {name!r} has the answers a {kind} needs ({needed} or more): sample them "
            f"(glass label sample {name}), or add items with answers"
        )


def _present(campaign: StoredCampaign) -> tuple[Any, Any]:
    return items.c.campaign_id == campaign.id, items.c.removed_at.is_(None)


# Everything at once


def collect(connection: Connection, campaign: StoredCampaign, id: str | None = None) -> Collected:
    """Of one item only, where its id is given."""
    of_it = [] if id is None else [items.c.id == id]
    rows = connection.execute(select(items).where(*_present(campaign), *of_it).order_by(items.c.position)).all()
    said = (
        select(submissions, annotators.c.name.label("annotator"))
        .join(annotators, annotators.c.id == submissions.c.annotator_id)
        .where(submissions.c.campaign_id == campaign.id, *([] if id is None else [submissions.c.item_id == id]))
        .order_by(submissions.c.id)
    )
    found = {row.id: item_of(row) for row in rows}
    labels = [_label(row) for row in connection.execute(said) if row.item_id in found]
    return Collected(campaign.config, found, {row.id: row.n_wanted for row in rows}, tuple(labels))


def _label(row: Row[Any]) -> Label:
    return Label(
        row.item_id, row.annotator, row.action, row.value, row.guidelines_version, row.seconds, row.at,
        row.submission_id, row.revision,
    )  # fmt: skip
