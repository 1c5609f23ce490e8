import json

import pytest

from glasshouse.core.errors import DataError
from glasshouse.evals.json_answer import is_json


@pytest.mark.parametrize(
    "text", ['{"a": 1}', " [1, 2]\n", "3", '"x"', "null", '```json\n{"a": 1}\n```', "```\n[]\n```"]
)
def test_json(text):
    assert is_json(text) and is_json(text, ("{}",)) and is_json(text, ("true",))


@pytest.mark.parametrize(
    "text", ["", "{'a': 1}", '{"a": 1', "NaN", "[Infinity]", 'Here: {"a": 1}', "{} {}", "[" * 100_000, "```json\n{}"]
)
def test_not_json(text):
    assert not is_json(text)


def test_schema():
    schema = json.dumps({"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}})
    assert is_json('{"age": 3}', (schema,)) and not is_json('{"age": "3"}', (schema,)) and not is_json("{}", (schema,))
    assert is_json("[]", (schema, '{"type": "array"}')) and not is_json("3", (schema, '{"type": "array"}'))
    assert not is_json("3", ("false",))


@pytest.mark.parametrize("schema", ["not json", "[]", '{"type": "nonsense"}'])
def test_what_is_no_schema(schema):
    with pytest.raises(DataError, match="must be a JSON Schema"):
        is_json("{}", (schema,))
