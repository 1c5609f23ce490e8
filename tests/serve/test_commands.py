from pathlib import Path

import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.serve.commands import create_key, list_keys, revoke_key, serve_models
from glasshouse.serve.keys import KeyStore


def test_a_key_is_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create_key("ada", tmp_path)
    text = capsys.readouterr().out.split()[-1]
    key = KeyStore(tmp_path).find(text)
    assert key is not None
    list_keys(tmp_path)
    out = capsys.readouterr().out
    assert key.id in out and "ada" in out and "active" in out and text not in out
    revoke_key(key.id, tmp_path)
    list_keys(tmp_path)
    assert "revoked" in capsys.readouterr().out and KeyStore(tmp_path).find(text) is None


def test_no_keys_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list_keys(tmp_path / "none")
    assert "glass key create" in capsys.readouterr().out


def test_wrong_options_are_named() -> None:
    with pytest.raises(ConfigError, match="port"):
        serve_models(("x",), {"port": 99999})
    with pytest.raises(ConfigError, match="Did you mean"):
        serve_models(("x",), {"prot": 1})
    with pytest.raises(ConfigError, match="no model to serve"):
        serve_models((), {})
