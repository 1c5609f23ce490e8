"""Stores to label in: SQLite always, PostgreSQL where it is installed."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from glasshouse.feedback import Campaign
from glasshouse.feedback.store import FeedbackStore

sys.path.insert(0, str(Path(__file__).parent))

from asking import Clock, ranking_items


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be opened; empty at the start of each test."""
    if request.param == "sqlite":
        return str(tmp_path / "labels.db")
    url = request.getfixturevalue("postgres")
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    engine.dispose()
    return str(url)


@pytest.fixture
def store(place: str, clock: Clock) -> Iterator[FeedbackStore]:
    store = FeedbackStore(place, clock)
    yield store
    store.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a throwaway server that listens on a socket file alone."""
    programs = {name: shutil.which(name) for name in ("initdb", "pg_ctl", "postgres")}
    if None in programs.values():
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # short: a socket's path has at most 107 bytes
    user = _unprivileged_user()
    if user is not None:
        shutil.chown(folder, user)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data, options = folder / "data", f"-k {folder} -p {port} -c listen_addresses= -c fsync=off"
    _run(user, [programs["initdb"], "-D", data, "-A", "trust", "-U", "tester", "-E", "UTF8", "--no-sync"])
    _run(user, [programs["pg_ctl"], "-D", data, "-o", options, "-l", folder / "log", "-w", "start"])
    try:
        yield f"postgresql://tester@/postgres?host={folder}&port={port}"
    finally:
        _run(user, [programs["pg_ctl"], "-D", data, "-m", "immediate", "-w", "stop"])
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged_user() -> str | None:
    """PostgreSQL refuses to run as root; None where we are not root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and there is no other user")


def _run(user: str | None, command: list[object]) -> None:
    done = subprocess.run(
        [str(part) for part in command], user=user, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, timeout=120,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"PostgreSQL did not start: {done.stderr[-300:]}")


@pytest.fixture
def ranking(store: FeedbackStore) -> FeedbackStore:
    """A campaign "rank" of six prompts, each wanted once, and two annotators."""
    store.create_campaign(Campaign(name="rank", kind="ranking", overlap=0), ranking_items(6))
    for name in ("Ada", "Bob"):
        store.ensure_annotator(name)
    return store
