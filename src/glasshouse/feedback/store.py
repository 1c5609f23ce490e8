"""Campaigns, annotators and labels, kept for good.

Every method is one transaction.  What it acknowledges survives the death of the process at any moment; what is sent
again is stored once.  Many threads and processes may work on one place at a time.

    store = FeedbackStore("labels.db")                       or "postgresql://user@host/database"
    store.create_campaign(Campaign(name="helpful", kind="ranking"), items)
    key = store.add_annotator("Ada")
    task = store.next_item("helpful", "Ada")
    store.submit("helpful", "Ada", task.item_id, "an id made by the sender", {"ranks": {...}}, seconds=12.5)
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from glasshouse.core.environment import state_directory
from glasshouse.core.errors import DataError
from glasshouse.feedback import people, stored
from glasshouse.feedback.agreement import Agreement, measure_agreement
from glasshouse.feedback.campaign import Campaign, Candidate, Item, Task, show_item
from glasshouse.feedback.collected import Collected
from glasshouse.feedback.database import Connection, Database, IntegrityError
from glasshouse.feedback.handing_out import lease_next
from glasshouse.feedback.label import Label, Value
from glasshouse.feedback.people import Annotator, Role
from glasshouse.feedback.problems import ConflictError
from glasshouse.feedback.records import Imported, OnProblem, Record, export_records, import_id, to_label
from glasshouse.feedback.review import Disagreement, Flag, Progress, disagreements, flags, progress
from glasshouse.feedback.stored import StoredCampaign
from glasshouse.feedback.submitting import Receipt, Submission, check_submission, store_submission, stored_submission


def default_place() -> Path:
    """Where the studio and `glass label` keep labels unless told otherwise."""
    return state_directory() / "studio" / "labels.db"


class FeedbackStore:
    def __init__(self, place: str | Path, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(place)
        self._clock = clock

    def close(self) -> None:
        self._database.close()

    # Campaigns

    def create_campaign(self, campaign: Campaign, items: Iterable[Item] = ()) -> Campaign:
        with self._write() as connection:
            created = stored.insert_campaign(connection, campaign, self._clock())
            stored.insert_items(connection, created, items)
        return self.campaign(campaign.name)

    def campaigns(self) -> list[Campaign]:
        """All of them, the newest first."""
        with self._database.read() as connection:
            return [campaign.config for campaign in stored.all_campaigns(connection)]

    def campaign(self, name: str) -> Campaign:
        with self._database.read() as connection:
            return stored.find_campaign(connection, name).config

    def open_campaign(self, name: str) -> Campaign:
        """The campaign, if there is anything to label in it."""
        with self._database.read() as connection:
            campaign = stored.find_campaign(connection, name)
            stored.check_openable(connection, campaign)
            return campaign.config

    def add_guidelines(self, name: str, text: str) -> int:
        """The number of the new version; the same text as the newest makes no new one."""
        with self._locked(name) as (connection, campaign):
            return stored.insert_guidelines(connection, campaign, text, self._clock())

    def guidelines(self, name: str, version: int | None = None) -> str:
        """The text of a version, by default the newest."""
        with self._database.read() as connection:
            campaign = stored.find_campaign(connection, name)
            return stored.guidelines_text(connection, campaign, version or campaign.config.guidelines_version)

    # Items

    def add_items(self, name: str, items: Iterable[Item]) -> list[str]:
        """The items' ids, in order.  An item that is there already is not added twice; a removed one comes back."""
        with self._locked(name) as (connection, campaign):
            return stored.insert_items(connection, campaign, items)

    def items(self, name: str) -> list[Item]:
        return list(self.collect(name).items.values())

    def item(self, name: str, item_id: str) -> Item:
        with self._database.read() as connection:
            return stored.find_item(connection, stored.find_campaign(connection, name), item_id)

    def add_answers(self, name: str, item_id: str, answers: Iterable[Candidate]) -> Item:
        """Answers to a prompt that has been waiting for them, or more of them; not after somebody judged it."""
        with self._locked(name) as (connection, campaign):
            return stored.append_answers(connection, campaign, item_id, answers)

    def remove_item(self, name: str, item_id: str) -> None:
        """Take an item out of everything; what was said of it stays in the table."""
        with self._locked(name) as (connection, campaign):
            stored.mark_removed(connection, campaign, item_id, self._clock())

    # Annotators

    def add_annotator(self, name: str, role: Role | None = None) -> str:
        """A new annotator's key.  It is shown once; only its hash is kept.  Without a role: the first is the owner."""
        with self._write() as connection:
            return people.insert_annotator(connection, name, role, self._clock())

    def ensure_annotator(self, name: str) -> None:
        """Know a name that has no key: of the person at this machine, or of an import."""
        with self._write() as connection:
            people.ensure_annotator(connection, name, self._clock())

    def set_role(self, name: str, role: Role) -> None:
        with self._write() as connection:
            people.set_role(connection, name, role)

    def role_of(self, name: str) -> Role:
        with self._database.read() as connection:
            return people.role_of(connection, name)

    def check_role(self, name: str, needed: Role) -> None:
        """Raise `NotAllowedError` for somebody who may not do what `needed` may."""
        with self._database.read() as connection:
            people.check_role(connection, name, needed)

    def annotators(self) -> list[Annotator]:
        with self._database.read() as connection:
            return people.all_annotators(connection)

    def annotator_of(self, key: str) -> str:
        with self._database.read() as connection:
            return people.annotator_of(connection, key)

    def new_key(self, name: str) -> str:
        """Another key for an annotator; the old one opens nothing from now on."""
        with self._write() as connection:
            return people.replace_key(connection, name)

    def revoke_annotator(self, name: str) -> None:
        """The annotator's key opens nothing from now on; the labels stay."""
        with self._write() as connection:
            people.revoke(connection, name, self._clock())

    # Labelling

    def next_item(self, campaign: str, annotator: str) -> Task | None:
        """What this annotator is to judge now: the same again until it is submitted, skipped or flagged.

        None: nothing is left for this annotator.  A campaign without any prompt is an error.
        """
        with self._locked(campaign) as (connection, found):
            annotator_id = people.annotator_id(connection, annotator)
            leased = lease_next(connection, found.id, found.config, annotator_id, self._clock())
            if leased is None:
                stored.check_openable(connection, found)
                return None
            row, expires_at = leased
            return show_item(found.config, stored.item_of(row), annotator, expires_at)

    def task_of(self, campaign: str, annotator: str, item_id: str) -> Task:
        """One item as this annotator sees it, for looking at it again; leases nothing."""
        with self._database.read() as connection:
            found = stored.find_campaign(connection, campaign)
            item = stored.find_item(connection, found, item_id)
        return show_item(found.config, item, annotator, expires_at=self._clock())

    def submit(
        self, campaign: str, annotator: str, item_id: str, submission_id: str, label: Value,
        seconds: float | None = None, replaces: str | None = None,
    ) -> Receipt:  # fmt: skip
        """Store a label.  Forms by kind of campaign: `label.py`.  Sent again, it is stored once.

        A correction names the submission it `replaces`; without that a second label of one person is refused.
        """
        submission = Submission(submission_id, "label", label, seconds, replaces)
        return self._submit(campaign, annotator, item_id, submission)

    def skip(self, campaign: str, annotator: str, item_id: str, submission_id: str, reason: str = "") -> Receipt:
        """Not for me: others are given the item.  After a label of one's own it takes that back."""
        return self._submit(campaign, annotator, item_id, Submission(submission_id, "skip", {"reason": reason}))

    def flag(self, campaign: str, annotator: str, item_id: str, submission_id: str, reason: str) -> Receipt:
        """Something is wrong with the item: a reviewer looks at it."""
        return self._submit(campaign, annotator, item_id, Submission(submission_id, "flag", {"reason": reason}))

    def adjudicate(
        self, campaign: str, item_id: str, label: Value, annotator: str, submission_id: str | None = None
    ) -> Receipt:
        """A reviewer's decision, in the form of a label: from now on it stands for the item in what is exported."""
        self.check_role(annotator, "reviewer")
        submission = Submission(submission_id or uuid.uuid4().hex, "adjudication", label)
        return self._submit(campaign, annotator, item_id, submission)

    # What came of it

    def labels(self, campaign: str) -> list[Label]:
        """One for each annotator and item: the last correction."""
        return self.collect(campaign).labels()

    def history(self, campaign: str) -> list[Label]:
        """Everything that was ever said of the items that are there: labels, corrections, skips, flags, decisions."""
        return list(self.collect(campaign).submissions)

    def label_of(self, campaign: str, annotator: str, item_id: str) -> Label | None:
        """This annotator's standing label of an item."""
        labels = self.collect(campaign, item_id).labels()
        return next((label for label in labels if label.annotator == annotator), None)

    def progress(self, campaign: str) -> Progress:
        return progress(self.collect(campaign))

    def agreement(self, campaign: str) -> Agreement:
        return measure_agreement(self.collect(campaign))

    def disagreements(self, campaign: str) -> list[Disagreement]:
        return disagreements(self.collect(campaign))

    def flags(self, campaign: str) -> list[Flag]:
        return flags(self.collect(campaign))

    def export(self, campaign: str) -> list[Record]:
        """What training reads: demonstrations as conversations, rankings, thumbs, edits as preferences."""
        return list(export_records(self.collect(campaign)))

    def import_records(
        self, campaign: str, records: Iterable[Record], annotator: str, on_problem: OnProblem | None = None
    ) -> Imported:
        """Labels given elsewhere, with their items, all at once or not at all.  Imported again, nothing is added.

        Records that contradict themselves or one another are left out, each reported with its number.
        """
        with self._locked(campaign) as (connection, found):
            people.ensure_annotator(connection, annotator, self._clock())
            n_before, outcomes = stored.count_items(connection, found), Counter[str]()
            for number, record in enumerate(records, 1):
                try:
                    receipt = self._import(connection, found, record, annotator)
                    outcomes["repeat" if receipt.is_repeat else "label"] += 1
                except DataError as error:
                    outcomes["refused"] += 1
                    if on_problem is not None:
                        on_problem(number, str(error))
            n_items = stored.count_items(connection, found) - n_before
        return Imported(n_items, outcomes["label"], outcomes["repeat"], outcomes["refused"])

    def collect(self, name: str, item_id: str | None = None) -> Collected:
        """Everything of a campaign, or of one of its items, in memory."""
        with self._database.read() as connection:
            return stored.collect(connection, stored.find_campaign(connection, name), item_id)

    # Inside

    def _import(self, connection: Connection, campaign: StoredCampaign, record: Record, annotator: str) -> Receipt:
        item, label_for = to_label(campaign.config, record)
        [id] = stored.insert_items(connection, campaign, [item])
        item = stored.find_item(connection, campaign, id)
        label = label_for(item)
        submission = Submission(import_id(annotator, item, label), "label", label)
        try:
            return self._store(connection, campaign, annotator, id, submission)
        except ConflictError:
            raise ConflictError(
                f"{annotator} has judged these very answers to this prompt before, and differently: "
                "the records contradict one another"
            ) from None

    def _submit(self, campaign: str, annotator: str, item_id: str, submission: Submission) -> Receipt:
        check_submission(submission)
        with self._locked(campaign) as (connection, found):
            return self._store(connection, found, annotator, item_id, submission)

    def _store(
        self, connection: Connection, campaign: StoredCampaign, annotator: str, item_id: str, submission: Submission
    ) -> Receipt:
        """A repeat is acknowledged even when its item has gone meanwhile: the label was stored."""
        annotator_id = people.annotator_id(connection, annotator)
        known = stored_submission(connection, annotator_id, submission, item_id)
        if known is not None:
            return known
        item = stored.find_item(connection, campaign, item_id)
        return store_submission(
            connection, campaign.id, campaign.config, item, annotator_id, submission, self._clock()
        )  # fmt: skip

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        try:
            with self._database.write() as connection:
                yield connection
        except IntegrityError as error:  # two processes at once: the other one was first
            raise ConflictError(f"somebody else stored the same at the same moment; try again ({error.orig})") from None

    @contextmanager
    def _locked(self, name: str) -> Iterator[tuple[Connection, StoredCampaign]]:
        """A transaction that no other one on this campaign runs beside."""
        with self._write() as connection:
            yield connection, stored.find_campaign(connection, name, is_locking=True)
