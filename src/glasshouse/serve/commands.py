"""What `glass serve` and `glass key` do: thin, printed for a person."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from glasshouse.core.config import parse_config
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.keys import KeyStore


def serve_models(models: tuple[str, ...], options: Mapping[str, Any]) -> None:
    """Serve runs or checkpoints; options left at None take `ServeConfig`'s own."""
    config = parse_config(ServeConfig, {"models": models, **{k: v for k, v in options.items() if v is not None}})
    from glasshouse.serve.server import serve

    serve(config)


def create_key(name: str, folder: Path | None = None) -> None:
    text, key = _store(folder).create(name)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"key {key.id} for {name}. It is shown this once and stored nowhere:\n", markup=False)
    console.print(text, markup=False)


def list_keys(folder: Path | None = None) -> None:
    keys = _store(folder).all()
    console = Console(highlight=False)
    if not keys:
        console.print("there are no keys. Make one: glass key create NAME")
        return
    table = Table(box=None, header_style="bold green")
    for column in ("id", "name", "created", "state"):
        table.add_column(column)
    for key in keys:
        table.add_row(
            key.id, key.name, _day(key.created_at), f"revoked {_day(key.revoked_at)}" if key.revoked_at else "active"
        )
    console.print(table)


def revoke_key(id: str, folder: Path | None = None) -> None:
    key = _store(folder).revoke(id)
    Console(highlight=False).print(f"key {key.id} ({key.name}) is revoked; it is refused from now on", markup=False)


def _store(folder: Path | None) -> KeyStore:
    return KeyStore(folder or ServeConfig().keys_folder)


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
