"""Places that cannot hold labels are refused in one line, and a store does not mistake another for its own."""

from pathlib import Path

import pytest
from asking import one_answer_items

from glasshouse.core.errors import DataError
from glasshouse.feedback import Campaign
from glasshouse.feedback.database import SCHEMA_VERSION, Database, read_url, schema, select, text
from glasshouse.feedback.store import FeedbackStore


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, " * 100)
    with pytest.raises(DataError, match=r"notes\.txt cannot be used: file is not a database"):
        FeedbackStore(path)
    assert path.read_text() == "these are my notes, " * 100


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("mysql://user@host/labels", "SQLite or PostgreSQL, not in mysql"),
        ("postgresql://nobody:secret@127.0.0.1:1/labels", "cannot be used"),
        ("://", "a path or postgresql"),
    ],
)
def test_other_places_are_refused(place: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        FeedbackStore(place)
    assert "secret" not in str(refused.value)


def test_a_folder_in_the_way_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be used"):
        FeedbackStore(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be kept in"):
        FeedbackStore(tmp_path / "file" / "labels.db")


def test_postgresql_takes_the_third_psycopg() -> None:
    assert read_url("postgresql://u@h/d").drivername == "postgresql+psycopg"
    assert read_url("labels.db").drivername == "sqlite"


def test_a_newer_schema_is_not_touched(place: str) -> None:
    database = Database(place)
    with database.write() as connection:
        connection.execute(schema.update().values(version=SCHEMA_VERSION + 1))
    database.close()
    with pytest.raises(DataError, match="newer Glasshouse"):
        Database(place)


def test_a_store_from_before_there_were_roles_is_brought_up_to_date(place: str) -> None:
    """Who decided something was a reviewer, who had the first key leads; nothing said is lost."""
    store = FeedbackStore(place)
    store.create_campaign(Campaign(name="t", kind="thumbs"), one_answer_items(1))
    for name in ("Ada", "Bob", "Eve"):
        store.add_annotator(name, "owner")
    [item] = store.items("t")
    store.submit("t", "Eve", item.id, "e", {"is_good": True})
    store.adjudicate("t", item.id, {"is_good": False}, "Bob")
    store.close()
    database = Database(place)
    with database.write() as connection:
        connection.execute(text("ALTER TABLE annotators DROP COLUMN role"))
        connection.execute(schema.update().values(version=1))
    database.close()
    for _ in range(2):
        again = FeedbackStore(place)
        assert [(one.name, one.role) for one in again.annotators()] == [
            ("Ada", "owner"), ("Bob", "reviewer"), ("Eve", "annotator")
        ]  # fmt: skip
        assert len(again.history("t")) == 2
        again.close()
    with Database(place).read() as connection:
        assert connection.scalar(select(schema.c.version)) == SCHEMA_VERSION


def test_what_fails_halfway_leaves_nothing(place: str) -> None:
    database = Database(place)
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute(schema.insert().values(version=99))
        raise RuntimeError
    with database.read() as connection:
        assert list(connection.scalars(schema.select().with_only_columns(schema.c.version))) == [SCHEMA_VERSION]
    database.close()
