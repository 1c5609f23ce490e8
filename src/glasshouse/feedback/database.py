"""Where labels are kept: SQLite in WAL mode, or PostgreSQL by URL.  The one file that knows which.

Six tables.  `submissions` is only ever appended to: a correction is a new row.  What people wrote is held as JSON in
ASCII, so that no character of it (NUL, half a surrogate pair) can be refused or changed by a database.

SQLite: a write takes the lock when it begins (BEGIN IMMEDIATE), so that two of them queue instead of failing halfway,
and is on the disk before it is acknowledged (synchronous FULL; with the usual NORMAL the last ones may go with the
power).  PostgreSQL: a reader sees one moment (REPEATABLE READ), writers of one campaign queue at its row.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glasshouse.core.errors import DataError
from glasshouse.core.extras import require

require("sqlalchemy", "feedback", "the store of labels")

from sqlalchemy import Column as Column  # noqa: E402
from sqlalchemy import Connection as Connection  # noqa: E402
from sqlalchemy import (  # noqa: E402
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy import Row as Row  # noqa: E402
from sqlalchemy import exists as exists  # noqa: E402
from sqlalchemy import func as func  # noqa: E402
from sqlalchemy import select as select  # noqa: E402
from sqlalchemy import text as text  # noqa: E402
from sqlalchemy.engine import URL, make_url  # noqa: E402
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError  # noqa: E402
from sqlalchemy.types import TypeDecorator  # noqa: E402

SCHEMA_VERSION = 2
# What leads from the version before to each.  Who decided something before there were roles was a reviewer.
MIGRATIONS: dict[int, tuple[str, ...]] = {
    2: (
        "ALTER TABLE annotators ADD COLUMN role VARCHAR(16) NOT NULL DEFAULT 'annotator'",
        "UPDATE annotators SET role = 'reviewer' WHERE id IN "
        "(SELECT annotator_id FROM submissions WHERE action = 'adjudication')",
        "UPDATE annotators SET role = 'owner' WHERE id = (SELECT MIN(id) FROM annotators WHERE key_hash IS NOT NULL)",
    ),
}
BUSY_S = 60.0  # how long a writer waits for the others
LOCK = 0x61A55  # of PostgreSQL, while tables are made


class Json(TypeDecorator[Any]):
    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Any) -> Any:
        return None if value is None else json.loads(value)


tables = MetaData()

schema = Table("glasshouse_schema", tables, Column("version", Integer, primary_key=True))

campaigns = Table(
    "campaigns", tables,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("config", Json, nullable=False),
    Column("created_at", Float, nullable=False),
)  # fmt: skip

guidelines = Table(
    "guidelines", tables,
    Column("campaign_id", ForeignKey("campaigns.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("text", Json, nullable=False),
    Column("at", Float, nullable=False),
)  # fmt: skip

items = Table(
    "items", tables,
    Column("id", String(16), primary_key=True),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("prompt", Json, nullable=False),
    Column("candidates", Json, nullable=False),
    Column("n_candidates", Integer, nullable=False),
    Column("known", Json),  # only test questions have it
    Column("is_test", Integer, nullable=False),
    Column("n_wanted", Integer, nullable=False),  # by how many people it is to be judged
    Column("meta", Json, nullable=False),
    Column("removed_at", Float),
    Index("items_in_order", "campaign_id", "position"),
)  # fmt: skip

annotators = Table(
    "annotators", tables,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("key_hash", String(64), unique=True),  # none: labels of this name only come from imports
    Column("role", String(16), nullable=False, server_default="annotator"),
    Column("created_at", Float, nullable=False),
    Column("revoked_at", Float),
)  # fmt: skip

submissions = Table(
    "submissions", tables,
    Column("id", Integer, primary_key=True),
    Column("submission_id", String(100), nullable=False),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("item_id", ForeignKey("items.id"), nullable=False),
    Column("annotator_id", ForeignKey("annotators.id"), nullable=False),
    Column("action", String(16), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("guidelines_version", Integer, nullable=False),
    Column("value", Json, nullable=False),
    Column("seconds", Float),
    Column("at", Float, nullable=False),
    UniqueConstraint("annotator_id", "submission_id"),  # sent twice, stored once
    UniqueConstraint("item_id", "annotator_id", "action", "revision"),
    Index("submissions_of_campaign", "campaign_id", "id"),
)  # fmt: skip

leases = Table(
    "leases", tables,
    Column("item_id", ForeignKey("items.id"), primary_key=True),
    Column("annotator_id", ForeignKey("annotators.id"), primary_key=True),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("guidelines_version", Integer, nullable=False),  # as shown with the item
    Column("expires_at", Float, nullable=False),
)  # fmt: skip


class Database:
    """Transactions on one database.  Safe to share between threads; a process opens its own."""

    def __init__(self, where: str | Path) -> None:
        self.url = read_url(where)
        self._engine = create_engine(self.url, **_options(self.url))
        if self.url.get_backend_name() == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        with _explained(self.url):
            self._make_tables()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of everything."""
        with _explained(self.url), self._engine.connect() as connection:
            if self.url.get_backend_name() == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """All of it is stored when the block ends, or nothing."""
        with _explained(self.url), self._engine.connect() as connection:
            connection = connection.execution_options(is_write=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _make_tables(self) -> None:
        with self.write() as connection:
            if self.url.get_backend_name() == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            tables.create_all(connection)
            version = connection.scalar(select(schema.c.version))
            if version is None:
                connection.execute(schema.insert().values(version=SCHEMA_VERSION))
                return
            if version > SCHEMA_VERSION:
                raise DataError(
                    f"{_shown(self.url)} was written by a newer Glasshouse (schema {version}); upgrade this one"
                )
            for newer in range(version + 1, SCHEMA_VERSION + 1):
                for statement in MIGRATIONS[newer]:
                    connection.execute(text(statement))
                connection.execute(schema.update().values(version=newer))


def read_url(where: str | Path) -> URL:
    """A path is an SQLite file; `postgresql://` takes psycopg 3."""
    if isinstance(where, Path) or "://" not in where:
        path = Path(where).expanduser()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"the labels cannot be kept in {path}: {error.strerror}") from None
        return URL.create("sqlite", database=str(path))
    try:
        url = make_url(where)
    except ArgumentError:
        raise DataError("the labels' place is a path or postgresql://user@host/database") from None
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise DataError(f"labels are kept in SQLite or PostgreSQL, not in {url.get_backend_name()}")
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        require("psycopg", "feedback", "labels in PostgreSQL")
        return url.set(drivername="postgresql+psycopg")
    return url


def _options(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": BUSY_S}}
    return {"pool_pre_ping": True}  # a server that was restarted between two requests


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin when we say so
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    is_write = connection.get_execution_options().get("is_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


@contextmanager
def _explained(url: URL) -> Iterator[None]:
    """Faults of the database itself in one line; ours pass."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        raise DataError(f"the store of labels {_shown(url)} cannot be used: {reason}") from error
    except SQLAlchemyError as error:
        raise DataError(f"the store of labels {_shown(url)} cannot be used: {error}") from error


def _shown(url: URL) -> str:
    return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
