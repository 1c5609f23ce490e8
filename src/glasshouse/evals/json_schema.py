"""Whether a value fits a JSON Schema: the one file that imports `jsonschema`.

Schemas come from strangers, so none of them may make this machine fetch an address ($ref to elsewhere does not resolve)
or compute for long: patterns are left unchecked, because one can be written that takes Python's `re` for ever.
"""

from collections.abc import Mapping
from typing import Any

from glasshouse.core.errors import ConfigError
from glasshouse.core.extras import require

require("jsonschema", "serve", "checking JSON against a schema")

import jsonschema  # noqa: E402
import referencing  # noqa: E402

UNCHECKED = ("pattern", "patternProperties", "format")
_Validator: Any = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, {name: lambda *_: None for name in UNCHECKED}
)


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether `value` fits; a schema that cannot be followed to its end fits nothing."""
    try:
        return bool(_Validator(_without_patterns(schema), registry=referencing.Registry()).is_valid(value))
    except (referencing.exceptions.Unresolvable, jsonschema.SchemaError, RecursionError, TypeError, ValueError):
        return False


def check_schema(schema: Mapping[str, Any], what: str) -> None:
    """Raise `ConfigError` where `schema` is no JSON Schema."""
    try:
        _Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "its root"
        raise ConfigError(f"{what} is no JSON Schema: {error.message:.200} (at {place})") from None
    except RecursionError:
        raise ConfigError(f"{what} is nested too deeply") from None


def _without_patterns(schema: Any) -> Any:
    """additionalProperties: false looks at patternProperties itself, so both go where there are patterns."""
    if isinstance(schema, Mapping):
        dropped = ("patternProperties", "additionalProperties") if "patternProperties" in schema else ()
        return {key: _without_patterns(value) for key, value in schema.items() if key not in dropped}
    return [_without_patterns(item) for item in schema] if isinstance(schema, list) else schema
