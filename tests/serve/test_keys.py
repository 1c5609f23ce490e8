import json
import stat
from pathlib import Path

import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.serve.keys import KeyStore


def test_a_key_is_found_until_it_is_revoked(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    text, key = store.create("ada")
    other_text, other = store.create("bob")
    assert store.find(text) == key and store.find(other_text) == other
    assert store.find(text + "x") is None and store.find("") is None
    store.revoke(key.id)
    assert store.find(text) is None
    assert store.find(other_text) == other
    assert [k.is_active for k in store.all()] == [False, True]


def test_nothing_on_disk_gives_a_key_away(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    text, _ = store.create("ada")
    [path] = store.folder.iterdir()
    assert text not in path.read_text() and text not in path.name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700


def test_keys_are_long_and_all_different(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    texts = {store.create("ada")[0] for _ in range(20)}
    assert len(texts) == 20 and min(map(len, texts)) >= 3 + 43  # 256 bits in base64


def test_a_damaged_file_is_no_key(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    text, _ = store.create("ada")
    [path] = tmp_path.iterdir()
    path.write_text(json.dumps({"id": 1}))
    assert store.find(text) is None and store.all() == [] and not store.has_active()


def test_an_unknown_id_is_named_with_those_there_are(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    _, key = store.create("ada")
    with pytest.raises(ConfigError, match=f"'zzz'.*{key.id}"):
        store.revoke("zzz")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101])
def test_names_are_printable(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="printable"):
        KeyStore(tmp_path).create(name)
