"""Values as the text that PostgreSQL's COPY reads into their columns."""

from typing import Any

import orjson


def text_of(value: Any) -> str | None:
    """Return a value as the text that PostgreSQL reads into its column.

    >>> text_of(["face", "vehicle"]), text_of(True), text_of(0.5), text_of([{"lane": 1}])
    ('{face,vehicle}', 'true', '0.5', '[{"lane":1}]')
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return "{" + ",".join(_quoted(part) for part in value) + "}"
    return orjson.dumps(value).decode()


def _quoted(text: str) -> str:
    if text.replace("_", "").isalnum() and text.isascii():
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
