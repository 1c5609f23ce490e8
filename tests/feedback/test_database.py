"""Places that cannot hold labels are refused in one line, and a store does not mistake another for its own."""

from pathlib import Path

import pytest

from glasshouse.core.errors import DataError
from glasshouse.feedback.database import SCHEMA_VERSION, Database, read_url, schema
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


def test_what_fails_halfway_leaves_nothing(place: str) -> None:
    database = Database(place)
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute(schema.insert().values(version=99))
        raise RuntimeError
    with database.read() as connection:
        assert list(connection.scalars(schema.select().with_only_columns(schema.c.version))) == [SCHEMA_VERSION]
    database.close()
