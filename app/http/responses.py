"""Answers built from JSON that PostgreSQL made: pages, features, links, tags."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from fastapi import Request, Response

from app.errors import InvalidQuery
from app.records.payloads import etag

JSON = "application/json"
GEOJSON = "application/geo+json"
_BEGIN_FEATURES = b'{"type":"FeatureCollection","features":['
_BEGIN_ITEMS = b'{"items":['
_PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Accept"}


def encode_cursor(after: str) -> str:
    """Return the opaque form of where a page starts."""
    return base64.urlsafe_b64encode(after.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> str | None:
    """Return where a page starts.

    Raises
    ------
    InvalidQuery
        when the cursor was not made here.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise _bad_cursor() from error
    if not text or not text.isprintable():
        raise _bad_cursor()
    return text


def _bad_cursor() -> InvalidQuery:
    return InvalidQuery("The cursor is not one of ours: follow `next` as it is given.", parameter="cursor")


def one(body: str | bytes, version: int, *, status: int = 200, media_type: str = JSON, **headers: str) -> Response:
    """Return one record with its entity tag."""
    return Response(
        body,
        status,
        {"ETag": etag(version), **_PRIVATE, **headers},
        media_type,
    )


def raw(body: bytes, media_type: str = JSON, **headers: str) -> Response:
    """Return JSON that is ready."""
    return Response(body, 200, {**_PRIVATE, **headers}, media_type)


def computed(value: Mapping[str, Any] | Sequence[Any], media_type: str = JSON) -> Response:
    """Return a computed value as JSON."""
    return raw(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z), media_type)


def page(
    request: Request,
    bodies: str | bytes,
    count: int,
    after: str | None,
    *,
    geojson: bool = False,
    also: str = "",
) -> Response:
    """Return one page of bodies with commas between, with ``next`` in the body and as a ``Link``.

    ``also`` holds further members as JSON.
    """
    next_url = None
    if after is not None:
        query = dict(request.query_params) | {"cursor": encode_cursor(after)}
        next_url = f"{request.url.path}?{urlencode(query)}"
    listed = bodies if isinstance(bodies, bytes) else bodies.encode()
    begin = _BEGIN_FEATURES if geojson else _BEGIN_ITEMS
    end = f'"next":{orjson.dumps(next_url).decode()}'
    if geojson:
        end = f'"numberReturned":{count},{end}'
    if also:
        end = f"{end},{also}"
    body = b"".join((begin, listed, b"],", end.encode(), b"}"))
    headers = dict(_PRIVATE)
    if next_url is not None:
        headers["Link"] = f'<{next_url}>; rel="next"'
    return Response(body, 200, headers, GEOJSON if geojson else JSON)


def decode_sequence(cursor: str | None) -> int | None:
    """Return the sequence number a history page starts before."""
    text = decode_cursor(cursor)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise _bad_cursor()
    return int(text)


def joined(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return values as JSON with commas between, as ``page`` takes them."""
    return ",".join(orjson.dumps(row, option=orjson.OPT_UTC_Z).decode() for row in rows)


def attachment(name: str) -> str:
    """Return the Content-Disposition of a file to be saved under a name, which may be Chinese."""
    plain = "".join(sign if sign.isascii() and sign not in '"\\' else "_" for sign in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
