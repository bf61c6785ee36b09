"""Which format a client of the GIS interface gets: ``f`` wins over ``Accept``; none of them is 406."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import cos, radians
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jinja2
import orjson
from markupsafe import Markup
from starlette.responses import Response

from app.errors import BadQuery, NotAcceptable
from app.http.asgi_routes import Call
from app.ogc.documents import GEOJSON, HTML, JSON, OPENAPI, SCHEMA

# A small map of features as SVG: needs no script, no tiles and nothing from another host.
#
# True to shape in the middle of what is drawn; north is up. Every feature leads to its page.

WIDTH: Final = 960
LOWEST: Final = 240
"""Height of a sheet whose places lie in a row."""
_TALLEST: Final = 640
_MARGIN: Final = 18
_RADIUS: Final = 5
_COLOURS: Final[Mapping[str, str]] = {
    "backed_up": "#1a9850", "covered": "#7fbf4d", "partial": "#f59a23", "uncovered": "#d73027",
    "guarded": "#1a9850", "open": "#d73027", "waived": "#787878", "online": "#1a9850",
    "offline": "#d73027", "fault": "#d73027", "unknown": "#787878",
}  # fmt: skip
_PLAIN: Final = "#0b5cad"
Json = Mapping[str, Any]


def drawing(features: Sequence[Json], home: str) -> Markup:
    """Return the map of features in degrees, longitude first; empty when none has a place.

    Parameters
    ----------
    features : sequence of GeoJSON Feature
        Their shapes may be null.
    home : str
        Address of the collection, below which each feature has its page.
    """
    shapes = [(found, found["geometry"]) for found in features if found.get("geometry")]
    places = [place for _, shape in shapes for place in _places(shape["coordinates"])]
    if not places:
        return Markup("")
    sheet = _Sheet(places)
    drawn = Markup("").join(_linked(sheet, found, shape, home) for found, shape in shapes)
    return Markup(
        '<svg role="img" aria-label="Map" viewBox="0 0 {} {}" width="100%" '
        'style="background:#f6f8fa;border:1px solid #dfe5ec;max-height:70vh">{}{}</svg>'
    ).format(WIDTH, sheet.height, drawn, sheet.scale_bar())


def _places(coordinates: Any) -> Iterator[Sequence[float]]:
    """Yield every position of nested coordinates."""
    if coordinates and isinstance(coordinates[0], int | float):
        yield coordinates
        return
    for part in coordinates:
        yield from _places(part)


class _Sheet:
    """The paper: from degrees to units of the drawing."""

    def __init__(self, places: Sequence[Sequence[float]]) -> None:
        lon, lat = [place[0] for place in places], [place[1] for place in places]
        self._west, self._north = min(lon), max(lat)
        self._squeeze = max(cos(radians((min(lat) + max(lat)) / 2)), 0.01)
        wide = max((max(lon) - self._west) * self._squeeze, 0.002)
        high = max(self._north - min(lat), 0.002 * _TALLEST / WIDTH)
        room = WIDTH - 2 * _MARGIN, _TALLEST - 2 * _MARGIN
        self._scale = min(room[0] / wide, room[1] / high)
        self.height = max(round(high * self._scale) + 2 * _MARGIN, LOWEST)
        across = (max(lon) - self._west) * self._squeeze * self._scale
        down = (self._north - min(lat)) * self._scale
        self._left, self._top = (WIDTH - across) / 2, (self.height - down) / 2

    def at(self, place: Sequence[float]) -> str:
        """Return a position as ``x,y``."""
        x = self._left + (place[0] - self._west) * self._squeeze * self._scale
        y = self._top + (self._north - place[1]) * self._scale
        return f"{x:.1f},{y:.1f}"

    def scale_bar(self) -> Markup:
        """Return a bar of a round length, with its length written beside it."""
        metre = self._scale / 111_320
        length = next(size for size in _ROUND_M if size * metre > 60 or size == _ROUND_M[-1])
        label = f"{length // 1000} km" if length >= 1000 else f"{length} m"
        y = self.height - 10
        return Markup(
            '<path d="M{0},{1}h{2:.1f}" stroke="#1d2733" stroke-width="2"/>'
            '<text x="{3:.1f}" y="{1}" dy="4" font-size="12" fill="#1d2733">{4}</text>'
        ).format(_MARGIN, y, length * metre, _MARGIN + length * metre + 6, label)


_ROUND_M: Final = tuple(step * 10**power for power in range(1, 7) for step in (1, 2, 5))  # 10 m to 5,000 km


def _linked(sheet: _Sheet, feature: Json, shape: Json, home: str) -> Markup:
    properties = feature.get("properties") or {}
    word = properties.get("status") or properties.get("state")
    colour = _COLOURS.get(str(word), _PLAIN)
    name = properties.get("name_zh") or properties.get("name_en") or ""
    told = " ".join(str(part) for part in (feature.get("id", ""), name, word or "") if part)
    href = f"{home}/items/{quote(str(feature.get('id', '')), safe='')}?f=html"
    return Markup('<a href="{}"><title>{}</title>{}</a>').format(href, told, _mark(sheet, shape, colour))


def _mark(sheet: _Sheet, shape: Json, colour: str) -> Markup:
    """Return the SVG of one geometry."""
    kind, coordinates = shape["type"], shape["coordinates"]
    if kind in ("Point", "MultiPoint"):
        places = [coordinates] if kind == "Point" else coordinates
        return Markup("").join(_dot(sheet.at(place), colour) for place in places)
    closed = kind.endswith("Polygon")
    lines = coordinates
    if kind == "LineString":
        lines = [coordinates]
    elif kind == "MultiPolygon":
        lines = [ring for polygon in coordinates for ring in polygon]
    path = "".join("M" + "L".join(sheet.at(place) for place in line) + ("Z" if closed else "") for line in lines)
    fill = Markup('fill="{}" fill-opacity=".15" fill-rule="evenodd"').format(colour)
    return Markup('<path d="{}" {} stroke="{}" stroke-width="1.6"/>').format(
        path, fill if closed else Markup('fill="none"'), colour
    )


def _dot(at: str, colour: str) -> Markup:
    x, _, y = at.partition(",")
    return Markup('<circle cx="{}" cy="{}" r="{}" fill="{}" stroke="#fff" stroke-width="1"/>').format(
        x, y, _RADIUS, colour
    )


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
