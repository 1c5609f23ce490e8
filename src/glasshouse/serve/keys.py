"""API keys, hashed at rest: one small file a key, named by the key's SHA-256.

A key is 256 random bits, so a plain hash of it cannot be searched and needs no slow function.  Looking a key up is
opening one file: a key made or revoked by `glass key` counts from the next request on, with no restart and no lock.
"""

import hashlib
import secrets
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from glasshouse.core.errors import ConfigError
from glasshouse.core.files import read_json, write_json

PREFIX = "gh-"


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key; never the key.  `id` is the beginning of its hash."""

    id: str
    name: str
    created_at: float
    revoked_at: float | None = None

    @property
    def is_active(self) -> bool:
        return self.revoked_at is None


class KeyStore:
    """The keys in one folder, which only its owner may read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, name: str) -> tuple[str, Key]:
        """A new key.  Its text is returned once and is stored nowhere."""
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise ConfigError(
                f"a key's name is 1 to 100 printable characters, such as the user it is for; got {name!r}"
            )
        text = PREFIX + secrets.token_urlsafe(32)
        digest = _digest(text)
        key = Key(digest[:12], name, time.time())
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write(digest, key)
        return text, key

    def all(self) -> list[Key]:
        """All keys, the revoked ones too, the oldest first."""
        return sorted((key for _, key in self._pairs()), key=lambda key: key.created_at)

    def revoke(self, id: str) -> Key:
        """Make a key useless at once; it stays in the list."""
        for digest, key in self._pairs():
            if key.id == id:
                revoked = replace(key, revoked_at=key.revoked_at or time.time())
                self._write(digest, revoked)
                return revoked
        known = ", ".join(key.id for key in self.all() if key.is_active) or "none"
        raise ConfigError(f"no key has the id {id!r}. Active keys: {known}. See: glass key list")

    def find(self, text: str) -> Key | None:
        """The active key with this text."""
        key = _read(self.folder / f"{_digest(text)}.json")
        return key if key is not None and key.is_active else None

    def has_active(self) -> bool:
        return any(key.is_active for _, key in self._pairs())

    def _pairs(self) -> list[tuple[str, Key]]:
        pairs = [(path.stem, _read(path)) for path in self.folder.glob("[0-9a-f]*.json")]
        return [(digest, key) for digest, key in pairs if key is not None]

    def _write(self, digest: str, key: Key) -> None:
        path = self.folder / f"{digest}.json"
        write_json(path, asdict(key))
        path.chmod(0o600)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> Key | None:
    try:
        return Key(**read_json(path))
    except (OSError, ValueError, TypeError):  # gone, or damaged: no key
        return None
