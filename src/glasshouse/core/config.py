"""Strict configuration: frozen models, unknown keys refused with file, line and the nearest name.

A config class stands right above what it configures.  Nothing here derives values: `run.resolve` does.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from glasshouse.core.errors import ConfigError, suggest


class Config(pydantic.BaseModel):
    """Base of every config: immutable, no unknown keys, no silent conversions of the wrong type."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=False, protected_namespaces=())


C = TypeVar("C", bound=Config)


def parse_config(kind: type[C], values: Mapping[str, Any], source: Path | str = "", text: str = "") -> C:
    """Build `kind` from `values`; on error raise `ConfigError` with the file, the line and the nearest name.

    `source` names where the values came from; `text` is the TOML they were read from, for line numbers.
    """
    try:
        return kind.model_validate(dict(values))
    except pydantic.ValidationError as error:
        problems = [_explain(kind, e, source, text) for e in error.errors()]
        raise ConfigError("\n".join(problems)) from None


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """(values, text) of a TOML file."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such recipe file. Recipes that come with Glasshouse are in recipes/.")
    text = path.read_text(encoding="utf-8")
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def override(values: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Apply `a.b=c` settings (values in TOML syntax, else text) to a nested mapping; the input is not changed."""
    result = _copy(values)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set takes key=value, for example --set train.steps=10; got {setting!r}")
        *parents, last = key.strip().split(".")
        target = result
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise ConfigError(f"--set {setting}: {parent!r} is a value, not a table")
        target[last] = _value(value.strip())
    return result


def dump_toml(values: Mapping[str, Any], comments: Mapping[str, str] | None = None, prefix: str = "") -> str:
    """TOML text of nested tables of plain values.  `comments["a.b"]` is written behind that key.  None is left out."""
    comments = comments or {}
    lines, tables = [], []
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            tables.append((path, value))
        elif value is not None:
            note = f"  # {comments[path]}" if path in comments else ""
            lines.append(f"{key} = {_literal(value)}{note}")
    text = "\n".join(lines) + ("\n" if lines else "")
    for path, table in tables:
        body = dump_toml(table, comments, path + ".")
        own = any(not isinstance(v, Mapping) and v is not None for v in table.values())
        text += (f"\n[{path}]\n" if own or not table else "") + body
    return text


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(v) for v in value if v is not None) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {_literal(v)}" for k, v in value.items() if v is not None) + "}"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in values.items()}


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(kind: type[Config], error: Any, source: Path | str, text: str) -> str:
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    where = f"{source}:{_line(text, path)}: " if source and text and path else f"{source}: " if source else ""
    if error["type"] == "extra_forbidden":
        allowed = _fields_at(kind, error["loc"][:-1])
        hint = suggest(path[-1], allowed) or (f" Allowed here: {', '.join(sorted(allowed))}." if allowed else "")
        return f'{where}unknown key "{key}".{hint}'
    if error["type"] == "missing":
        return f'{where}the key "{key}" is missing.'
    given = f" (given: {error['input']!r})" if not isinstance(error["input"], dict) else ""
    name = f'"{key}": ' if key else ""  # none where a rule is about several keys
    return f"{where}{name}{error['msg']}{given}"


def _fields_at(kind: Any, loc: Sequence[Any]) -> list[str]:
    """Field names of the config class that `loc` leads to.  Union members carry their class name in `loc`."""
    current = [kind]
    for part in loc:
        found = []
        for candidate in current:
            field = getattr(candidate, "model_fields", {}).get(part)
            if field is not None:
                found += _classes(field.annotation)
        named = [c for c in current if c.__name__ == part]
        current = found or named or current
    return [name for c in current for name in c.model_fields]


def _classes(annotation: Any) -> list[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    return [c for a in getattr(annotation, "__args__", ()) for c in _classes(a)]


def _line(text: str, path: Sequence[str]) -> int:
    """The line of the key `path` in TOML `text`: the last line naming its table, then the key below it."""
    table, number_at, fallback = "", 1, 1
    parents, last = [p for p in path[:-1] if not p.isdigit()], path[-1]
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            table = header.group(1)
            if table.split(".")[-1] == last:
                fallback = number
        elif re.match(rf"\s*[\"']?{re.escape(last)}[\"']?\s*=", line):
            fallback = number
            if table.split(".") == parents or not parents:
                return number
    return fallback or number_at
