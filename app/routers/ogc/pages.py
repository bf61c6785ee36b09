"""Responses of the GIS interface: JSON documents and HTML pages, with a small map of features as SVG."""

from collections.abc import Iterator, Mapping, Sequence
from math import cos, radians
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jinja2
import orjson
from markupsafe import Markup
from starlette.responses import Response

from app.ogc.documents import HTML, JSON
from app.routers.ogc.context import DOCUMENT_FORMATS, Format, OgcRequest, choose_media_type

PRIVATE_HEADERS: Final = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}
_PAGE_HEADERS: Final = {**PRIVATE_HEADERS, "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'"}
_MAX_VALUE_LENGTH: Final = 400


def build_document(value: Any, media_type: str = JSON) -> Response:
    """Return a JSON document."""
    return Response(orjson.dumps(value), 200, dict(PRIVATE_HEADERS), media_type)


def render_page(template: str, **values: Any) -> Response:
    """Return an HTML page."""
    return Response(_templates.get_template(template).render(**values), 200, dict(_PAGE_HEADERS), HTML)


def build_document_or_page(
    request: OgcRequest,
    document: Any,
    template: str,
    *,
    formats: tuple[Format, ...] = DOCUMENT_FORMATS,
    lenient: bool = False,
    **values: Any,
) -> Response:
    """Return a document as JSON in the first media type of its formats, or as a page, as the client prefers."""
    if choose_media_type(request, formats, lenient=lenient) == HTML:
        return render_page(template, base=request.base_url, document=document, **values)
    return build_document(document, formats[0].media_types[0])


def format_value(value: Any) -> str:
    """Return the text of a property on a page."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, dict | list):
        text = orjson.dumps(value).decode()
        return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[:_MAX_VALUE_LENGTH]}…"
    return str(value)


# The map: SVG without scripts, tiles or other hosts. Shapes keep their proportions in the middle of the map; north is
# up. Each feature links to its page.

MAP_WIDTH: Final = 960
MIN_MAP_HEIGHT: Final = 240
"""Height of a map whose locations lie in a row."""
_MAX_MAP_HEIGHT: Final = 640
_MARGIN: Final = 18
_RADIUS: Final = 5
_COLOURS: Final[Mapping[str, str]] = {
    "backed_up": "#1a9850",
    "covered": "#7fbf4d",
    "partial": "#f59a23",
    "uncovered": "#d73027",
    "guarded": "#1a9850",
    "open": "#d73027",
    "waived": "#787878",
    "online": "#1a9850",
    "offline": "#d73027",
    "fault": "#d73027",
    "unknown": "#787878",
}
_DEFAULT_COLOUR: Final = "#0b5cad"
_BAR_LENGTHS_M: Final = tuple(step * 10**power for power in range(1, 7) for step in (1, 2, 5))
"""From 10 m to 5,000 km."""
_MIN_BAR_LENGTH: Final = 60
_METRES_PER_DEGREE: Final = 111_320
_MIN_EXTENT_DEG: Final = 0.002
Json = Mapping[str, Any]


def render_preview(features: Sequence[Json], collection_url: str) -> Markup:
    """Return the map of GeoJSON features, in degrees; empty when no feature has a geometry."""
    shapes = [(feature, feature["geometry"]) for feature in features if feature.get("geometry")]
    locations = [location for _, geometry in shapes for location in _iter_locations(geometry["coordinates"])]
    if not locations:
        return Markup("")
    scale = _MapScale(locations)
    marks = Markup("").join(_render_feature(scale, feature, geometry, collection_url) for feature, geometry in shapes)
    return Markup(
        '<svg role="img" aria-label="Map" viewBox="0 0 {} {}" width="100%" '
        'style="background:#f6f8fa;border:1px solid #dfe5ec;max-height:70vh">{}{}</svg>'
    ).format(MAP_WIDTH, scale.height, marks, scale.render_bar())


def _iter_locations(coordinates: Any) -> Iterator[Sequence[float]]:
    """Yield every location of nested coordinates."""
    if coordinates and isinstance(coordinates[0], int | float):
        yield coordinates
        return
    for nested in coordinates:
        yield from _iter_locations(nested)


class _MapScale:
    """The projection from degrees to units of the map."""

    def __init__(self, locations: Sequence[Sequence[float]]) -> None:
        lon, lat = [location[0] for location in locations], [location[1] for location in locations]
        self._west, self._north = min(lon), max(lat)
        self._lon_factor = max(cos(radians((min(lat) + max(lat)) / 2)), 0.01)
        width_deg = max((max(lon) - self._west) * self._lon_factor, _MIN_EXTENT_DEG)
        height_deg = max(self._north - min(lat), _MIN_EXTENT_DEG * _MAX_MAP_HEIGHT / MAP_WIDTH)
        available = MAP_WIDTH - 2 * _MARGIN, _MAX_MAP_HEIGHT - 2 * _MARGIN
        self._scale = min(available[0] / width_deg, available[1] / height_deg)
        self.height = max(round(height_deg * self._scale) + 2 * _MARGIN, MIN_MAP_HEIGHT)
        width = (max(lon) - self._west) * self._lon_factor * self._scale
        height = (self._north - min(lat)) * self._scale
        self._left, self._top = (MAP_WIDTH - width) / 2, (self.height - height) / 2

    def to_xy(self, location: Sequence[float]) -> str:
        """Return a location as ``x,y``."""
        x = self._left + (location[0] - self._west) * self._lon_factor * self._scale
        y = self._top + (self._north - location[1]) * self._scale
        return f"{x:.1f},{y:.1f}"

    def render_bar(self) -> Markup:
        """Return the scale bar, of a round length, with its label."""
        metre = self._scale / _METRES_PER_DEGREE
        long_enough = (length for length in _BAR_LENGTHS_M if length * metre > _MIN_BAR_LENGTH)
        length = next(long_enough, _BAR_LENGTHS_M[-1])
        label = f"{length // 1000} km" if length >= 1000 else f"{length} m"
        return Markup(
            '<path d="M{0},{1}h{2:.1f}" stroke="#1d2733" stroke-width="2"/>'
            '<text x="{3:.1f}" y="{1}" dy="4" font-size="12" fill="#1d2733">{4}</text>'
        ).format(_MARGIN, self.height - 10, length * metre, _MARGIN + length * metre + 6, label)


def _render_feature(scale: _MapScale, feature: Json, geometry: Json, collection_url: str) -> Markup:
    """Return the link of a feature, with its title and its shape."""
    properties = feature.get("properties") or {}
    status = properties.get("status") or properties.get("state")
    name = properties.get("name_zh") or properties.get("name_en") or ""
    title = " ".join(str(word) for word in (feature.get("id", ""), name, status or "") if word)
    href = f"{collection_url}/items/{quote(str(feature.get('id', '')), safe='')}?f=html"
    shape = _render_geometry(scale, geometry, _COLOURS.get(str(status), _DEFAULT_COLOUR))
    return Markup('<a href="{}"><title>{}</title>{}</a>').format(href, title, shape)


def _render_geometry(scale: _MapScale, geometry: Json, colour: str) -> Markup:
    geometry_type, coordinates = geometry["type"], geometry["coordinates"]
    if geometry_type in ("Point", "MultiPoint"):
        locations = [coordinates] if geometry_type == "Point" else coordinates
        return Markup("").join(_render_dot(scale.to_xy(location), colour) for location in locations)
    is_closed = geometry_type.endswith("Polygon")
    lines = coordinates
    if geometry_type == "LineString":
        lines = [coordinates]
    elif geometry_type == "MultiPolygon":
        lines = [ring for polygon in coordinates for ring in polygon]
    path = "".join("M" + "L".join(map(scale.to_xy, line)) + ("Z" if is_closed else "") for line in lines)
    fill = Markup('fill="{}" fill-opacity=".15" fill-rule="evenodd"').format(colour)
    return Markup('<path d="{}" {} stroke="{}" stroke-width="1.6"/>').format(
        path, fill if is_closed else Markup('fill="none"'), colour
    )


def _render_dot(xy: str, colour: str) -> Markup:
    x, _, y = xy.partition(",")
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
_templates.globals["render_preview"] = render_preview
_templates.filters["format_value"] = format_value
