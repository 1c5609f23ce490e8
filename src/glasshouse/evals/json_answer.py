"""Whether an answer is JSON, and has the form that is asked for.

An expected answer is a JSON Schema (`{}` takes every value), of which one must fit; without any, being JSON is enough.
The whole answer counts, with or without a code fence around it.  NaN and Infinity are faults: JSON has no such numbers.
Left out: JSON within other text; patterns in schemas (`json_schema` says why).
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from glasshouse.core.errors import ConfigError, DataError

_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?```", re.DOTALL)


def is_json(text: str, schemas: Iterable[str] = ()) -> bool:
    """Whether the text is one JSON value that fits one of the schemas, where there are any."""
    allowed = [_schema(schema) for schema in schemas]
    fenced = _FENCE.fullmatch(text.strip())
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    if not allowed or True in allowed or {} in allowed:
        return True
    from glasshouse.evals.json_schema import fits  # an optional package, needed only now

    return any(fits(value, schema) for schema in allowed)


def _schema(text: str) -> Any:
    try:
        schema = json.loads(text)
        if isinstance(schema, dict) and schema:
            from glasshouse.evals.json_schema import check_schema

            check_schema(schema, "it")
    except (ValueError, RecursionError, ConfigError) as error:
        raise DataError(f"the expected answer {text[:80]!r} must be a JSON Schema: {error}") from None
    if not isinstance(schema, dict | bool):
        raise DataError(f"the expected answer {text[:80]!r} must be a JSON Schema: an object, true or false")
    return schema if schema is not False else {"not": {}}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
