"""Annotators: a name, a role, and a key of which only the hash is kept.

An annotator labels; a reviewer also sees what others said and decides where they differ; the owner also takes the
labels out.  Whoever is first given a key is the owner, everybody later an annotator, unless told otherwise.  On the
command line, whoever can open the store may give roles.
A key is 256 random bits, so a plain hash of it cannot be searched and needs no slow function.
"""

import secrets
from dataclasses import dataclass
from typing import Literal, get_args

from glasshouse.core.errors import suggest
from glasshouse.core.files import sha256_text
from glasshouse.feedback.database import Connection, annotators, func, select
from glasshouse.feedback.problems import ConflictError, KeyRefusedError, LabelError, NotAllowedError, NotThereError

PREFIX = "gl-"
Role = Literal["annotator", "reviewer", "owner"]  # each may do what those before may
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Annotator:
    name: str
    role: Role
    created_at: float
    has_key: bool


def insert_annotator(connection: Connection, name: str, role: Role | None, now: float) -> str:
    if _row_id(connection, name) is not None:
        raise ConflictError(f"there is an annotator called {name!r} already; a new key replaces the old one (new_key)")
    n_before = connection.scalar(select(func.count()).where(annotators.c.key_hash.is_not(None)))
    _insert(connection, name, now)
    set_role(connection, name, role or ("annotator" if n_before else "owner"))
    return replace_key(connection, name)


def ensure_annotator(connection: Connection, name: str, now: float) -> None:
    if _row_id(connection, name) is None:
        _insert(connection, name, now)


def _insert(connection: Connection, name: str, now: float) -> None:
    if not name.strip() or len(name) > 100 or not name.isprintable() or name != name.strip():
        raise LabelError(f"an annotator's name is 1 to 100 printable characters; got {name!r}")
    connection.execute(annotators.insert().values(name=name, created_at=now))


def replace_key(connection: Connection, name: str) -> str:
    key = PREFIX + secrets.token_urlsafe(32)
    mine = annotators.c.id == annotator_id(connection, name)
    connection.execute(annotators.update().where(mine).values(key_hash=sha256_text(key), revoked_at=None))
    return key


def set_role(connection: Connection, name: str, role: Role) -> None:
    if role not in ROLES:
        raise LabelError(f"a role is one of {', '.join(ROLES)}; got {role!r}")
    mine = annotators.c.id == annotator_id(connection, name)
    connection.execute(annotators.update().where(mine).values(role=role))


def role_of(connection: Connection, name: str) -> Role:
    role: Role = connection.execute(
        select(annotators.c.role).where(annotators.c.id == annotator_id(connection, name))
    ).scalar_one()
    return role


def check_role(connection: Connection, name: str, needed: Role) -> None:
    """Raise `NotAllowedError` for somebody with a lesser role."""
    role = role_of(connection, name)
    if ROLES.index(role) < ROLES.index(needed):
        raise NotAllowedError(
            f"{name} is {_a(role)}, but this takes {_a(needed)}. Whoever leads the campaign can change that: "
            f"glass label annotator {name!r} --role {needed}"
        )


def _a(role: Role) -> str:
    return f"an {role}" if role[0] in "ao" else f"a {role}"


def revoke(connection: Connection, name: str, now: float) -> None:
    mine = annotators.c.id == annotator_id(connection, name)
    connection.execute(annotators.update().where(mine).values(revoked_at=now))


def annotator_of(connection: Connection, key: str) -> str:
    is_theirs = (annotators.c.key_hash == sha256_text(key)) & annotators.c.revoked_at.is_(None)
    name = connection.scalar(select(annotators.c.name).where(is_theirs))
    if name is None:
        raise KeyRefusedError("no annotator has this key, or it was revoked; ask whoever runs the campaign for one")
    return str(name)


def annotator_id(connection: Connection, name: str) -> int:
    id = _row_id(connection, name)
    if id is None:
        hint = suggest(name, connection.scalars(select(annotators.c.name)))
        raise NotThereError(f"there is no annotator called {name!r}.{hint} Add one: glass label annotator NAME")
    return id


def all_annotators(connection: Connection) -> list[Annotator]:
    rows = connection.execute(select(annotators).order_by(annotators.c.id))
    return [
        Annotator(row.name, row.role, row.created_at, row.key_hash is not None and row.revoked_at is None)
        for row in rows
    ]


def _row_id(connection: Connection, name: str) -> int | None:
    return connection.scalar(select(annotators.c.id).where(annotators.c.name == name))
