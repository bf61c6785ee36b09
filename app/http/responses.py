"""Responses with JSON that is ready, or that is made from computed values."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson
from fastapi import Response

from app.http.negotiation import JSON
from app.records.payloads import format_etag

PRIVATE_HEADERS: Final = {"Cache-Control": "private, no-cache", "Vary": "Accept"}


def build_record_response(
    body: str | bytes, version: int, *, status: int = 200, media_type: str = JSON, **headers: str
) -> Response:
    """Return one record with its version as the entity tag."""
    return Response(body, status, {"ETag": format_etag(version), **PRIVATE_HEADERS, **headers}, media_type)


def build_json_response(body: bytes, media_type: str = JSON, **headers: str) -> Response:
    """Return a body that is JSON already."""
    return Response(body, 200, {**PRIVATE_HEADERS, **headers}, media_type)


def build_value_response(
    value: Mapping[str, Any] | Sequence[Any],
    media_type: str = JSON,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a value as JSON; NumPy arrays are lists."""
    body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z)
    return Response(body, status, {**PRIVATE_HEADERS, **(headers or {})}, media_type)


def join_documents(documents: Sequence[Mapping[str, Any]]) -> str:
    """Return documents as JSON, separated by commas."""
    return ",".join(orjson.dumps(document, option=orjson.OPT_UTC_Z).decode() for document in documents)


def format_attachment(name: str, ascii_name: str | None = None) -> str:
    """Return the Content-Disposition of a file whose name may be Chinese; old clients use the ASCII name (RFC 6266)."""
    plain = ascii_name or "".join(letter if letter.isascii() and letter not in '"\\' else "_" for letter in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
