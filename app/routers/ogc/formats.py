"""Which format a client of the GIS interface gets: ``f`` wins over ``Accept``; none of them is 406."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import jinja2
import orjson
from starlette.responses import Response

from app.errors import BadQuery, NotAcceptable
from app.routers.lean import Call
from app.routers.ogc.drawing import drawing
from app.schemas.ogc import GEOJSON, HTML, JSON, OPENAPI, SCHEMA

_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["drawing"] = drawing
_templates.filters["plain"] = lambda value: _plain(value)
PRIVATE: Final = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}
_PAGE: Final = {
    **PRIVATE,
    "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'",
}


@dataclass(frozen=True)
class Format:
    """One format of a resource: what ``f`` calls it, and the media types it goes by."""

    name: str
    media_types: tuple[str, ...]


_HTML: Final = Format("html", (HTML,))
DOCUMENT: Final = (Format("json", (JSON,)), _HTML)
FEATURES: Final = (Format("geojson", (GEOJSON, JSON)), _HTML)
SCHEMAS: Final = (Format("json", (SCHEMA, JSON)), _HTML)
API: Final = (Format("json", (OPENAPI, "application/openapi+json;version=3.0", JSON)), _HTML)
_LONGEST_SHOWN: Final = 400
_NAMES: Final = frozenset({"json", "geojson", "html"})


def chosen(call: Call, offered: tuple[Format, ...], *, lenient: bool = False) -> str:
    """Return the media type to answer with.

    Raises
    ------
    BadQuery
        when ``f`` is no format at all.
    NotAcceptable
        when none of the formats is accepted, unless that is ``lenient``.
    """
    named = call.given.get("f")
    if named is not None:
        return _named(named.lower(), offered)
    accept = call.request.headers.get("accept") or "*/*"
    found = _accepted(accept[:1000], offered)
    if found is None:
        if lenient:
            return offered[0].media_types[0]
        raise NotAcceptable([media for known in offered for media in known.media_types])
    return found


def _named(name: str, offered: tuple[Format, ...]) -> str:
    if name not in _NAMES:
        raise BadQuery(
            f"f: {name[:60]!r} is not a format; there are {', '.join(sorted(_NAMES))}.",
            parameter="f",
            code="bad-query",
        )
    for known in offered:
        if name == known.name or (name == "json" and known.name == "geojson"):
            return known.media_types[0]
    raise NotAcceptable([known.name for known in offered])


@lru_cache(maxsize=500)
def _accepted(accept: str, offered: tuple[Format, ...]) -> str | None:
    """Return the media type wanted most (RFC 9110, 12.5.1); ours come first when wanted alike."""
    best, wanted = None, 0.0
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    for known in offered:
        for media in known.media_types:
            weight = _weight(media, ranges)
            if weight > wanted:
                best, wanted = media, weight
    return best


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (word.strip().lower() for word in part.split(";"))
    quality = next((word[2:] for word in parameters if word.startswith("q=")), "1")
    kept = [word for word in parameters if not word.startswith("q=")]
    try:
        weight = float(quality)
    except ValueError:
        weight = 0.0
    return ";".join([name, *kept]), weight if 0 <= weight <= 1 else 0.0


def _weight(media: str, ranges: list[tuple[str, float]]) -> float:
    """Return how much a media type is wanted: the most specific range says."""
    kind = media.partition("/")[0]
    for name in (media, media.partition(";")[0], f"{kind}/*", "*/*"):
        for found, weight in ranges:
            if found == name:
                return weight
    return 0.0


def document(value: Any, media_type: str = JSON, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON document."""
    return Response(orjson.dumps(value), 200, PRIVATE | (headers or {}), media_type)


def _plain(value: Any) -> str:
    """Return a property as a reader of a page sees it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    if isinstance(value, dict | list):
        told = orjson.dumps(value).decode()
        return told if len(told) <= _LONGEST_SHOWN else f"{told[:_LONGEST_SHOWN]}…"
    return str(value)


def page(template: str, **values: Any) -> Response:
    """Return an HTML page."""
    made = _templates.get_template(template).render(**values)
    return Response(made, 200, dict(_PAGE), "text/html")
