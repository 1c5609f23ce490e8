"""The text of a record (a JSON object, a CSV or Parquet row): the field that holds it, or all its text values.

Other fields are not carried along: they may hold the very addresses that masking removes from the text.
"""

from collections.abc import Mapping
from typing import Any

TEXT_FIELDS = ("text", "content", "body", "raw_content", "article", "document", "code", "markdown")


def record_text(record: Any, text_field: str | None = None) -> str | None:
    """`{"text": "a", "n": 1}` -> `"a"`; `{"q": "a", "answer": "b"}` -> `"a\\n\\nb"`; None where there is no text."""
    if isinstance(record, str):
        return _valid(record)
    if not isinstance(record, Mapping):
        return None
    if text_field is not None:
        value = record.get(text_field)
        return _valid(value) if isinstance(value, str) else None
    for field in TEXT_FIELDS:
        if isinstance(record.get(field), str):
            return _valid(record[field])
    values = [value for value in record.values() if isinstance(value, str) and value.strip()]
    return _valid("\n\n".join(values)) if values else None


def explain_no_text(record: Any, text_field: str | None = None) -> str:
    if not isinstance(record, Mapping):
        return f"no text: a record is an object with text in it, this is {type(record).__name__}"
    keys = ", ".join(str(key) for key in list(record)[:8]) or "none"
    return f"no text in the field {text_field!r}; fields: {keys}" if text_field else f"no text; fields: {keys}"


def _valid(text: str) -> str:
    """JSON may escape half a surrogate pair, which no encoding can write: such halves become U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
