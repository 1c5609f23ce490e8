import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.evals.json_schema import check_schema, fits


def test_fits() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "additionalProperties": False}
    assert fits({"n": 1}, schema) and not fits({"n": 0}, schema) and not fits({"m": 1}, schema)


def test_nothing_is_fetched() -> None:
    """A reference to elsewhere fits nothing; a fetch would hang or be refused, and is never tried."""
    assert not fits(1, {"$ref": "http://127.0.0.1:9/schema.json"})
    assert not fits(1, {"$ref": "file:///etc/passwd"})


def test_endless_schemas_end() -> None:
    assert not fits(1, {"$ref": "#"})


def test_slow_patterns_are_not_run() -> None:
    slow = {"type": "object", "patternProperties": {"(a+)+$": {"pattern": "(a+)+$"}}, "additionalProperties": False}
    assert fits({"a" * 40 + "!": "a" * 40 + "!"}, slow)
    assert fits("a" * 40 + "!", {"pattern": "(a+)+$"})


def test_what_is_no_schema_is_refused() -> None:
    check_schema({"type": "object"}, "x")
    with pytest.raises(ConfigError, match=r"tools\.0 is no JSON Schema.*type"):
        check_schema({"properties": {"a": {"type": "nonsense"}}}, "tools.0")
